import json
import stat
import threading
import time

import pytest

from collectors.captions import captions
from collectors.item import CollectError
from collectors.kept import Kept
from collectors.web import Web
from tests.collectors.stand_in import as_json, standing_in

IDS = [str(7_300_000_000_000_000_000 + n) for n in range(12)]


@pytest.fixture(scope="module")
def web():
    with Web(public_only=False, seconds=5) as client:
        yield client


class TikTok:
    """Answers with a caption, or as told for a video; counts who is inside at once."""

    def __init__(self, seconds=0.0, **replies):
        self.seconds, self.replies = seconds, {name.removeprefix("v"): list(rows) for name, rows in replies.items()}
        self.asked, self.inside, self.most = [], 0, 0
        self._lock = threading.Lock()

    def __call__(self, method, path, query, headers, body):
        (link,) = query["url"]
        assert (path, link.rpartition("/")[0]) == ("/oembed", "https://www.tiktok.com/video")
        video = link.rpartition("/")[2]
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.asked.append(video)
            reply = self.replies.get(video, []) and self.replies[video].pop(0)
        time.sleep(self.seconds)
        with self._lock:
            self.inside -= 1
        return reply or as_json({"version": "1.0", "type": "video", "title": f"  caption\tof {video}\u202e #fun "})


def test_captions_come_and_are_known_the_next_time(web, tmp_path):
    tiktok = TikTok(**{"v" + IDS[1]: [as_json({"message": "gone"}, 400)], "v" + IDS[2]: [(404, {}, b"")]})
    with standing_in(tiktok) as service:
        ids = [*IDS[:3], IDS[0]]
        got = dict(captions(ids, tmp_path / "new", web=web, base=f"{service.url}/oembed"))
        assert got == {IDS[0]: f"caption of {IDS[0]} #fun", IDS[1]: None, IDS[2]: None}
        more = list(captions(IDS[:4], tmp_path / "new", web=web, base=f"{service.url}/oembed"))
    assert dict(more) == got | {IDS[3]: f"caption of {IDS[3]} #fun"}
    assert more[-1][0] == IDS[3]
    assert sorted(tiktok.asked) == IDS[:4]
    (file,) = (tmp_path / "new").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_never_more_than_four_at_once(web, tmp_path):
    tiktok = TikTok(seconds=0.05)
    with standing_in(tiktok) as service:
        assert len(dict(captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed", workers=50))) == 12
    assert tiktok.most == 4


def test_it_goes_on_after_a_kill(web, tmp_path):
    tiktok = TikTok()
    with standing_in(tiktok) as service:
        first = captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed", workers=1)
        assert [next(first)[0] for _ in range(2)] == IDS[:2]
        first.close()
        file = tmp_path / "tiktok-captions.jsonl"
        file.write_bytes(file.read_bytes()[:-9])  # the last line broke off in the middle
        tiktok.asked.clear()
        assert len(dict(captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed"))) == 12
        assert sorted(tiktok.asked) == IDS[1:]
        tiktok.asked.clear()
        assert len(dict(captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed"))) == 12
    assert tiktok.asked == []


def test_patience_where_it_is_asked_for(web, tmp_path):
    busy = (429, {"Retry-After": "1"}, b"")
    tiktok = TikTok(**{f"v{video}": [busy] for video in IDS[:4]})
    with standing_in(tiktok) as service:
        began = time.monotonic()
        assert len(dict(captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed"))) == 12
    assert 1 <= time.monotonic() - began < 4


def test_but_not_for_ever(web, tmp_path):
    long, often = (429, {"Retry-After": "600"}, b""), (429, {"Retry-After": "0"}, b"")
    with standing_in(TikTok(**{f"v{IDS[1]}": [long]})) as service:
        asking = captions(IDS[:2], tmp_path, web=web, base=f"{service.url}/oembed", workers=1)
        assert next(asking)[0] == IDS[0]
        with pytest.raises(CollectError, match=r"wait 10 minutes: 1 of 2 captions came .* Start again"):
            next(asking)
    tiktok = TikTok(**{f"v{IDS[5]}": [often] * 9})
    with standing_in(tiktok) as service, pytest.raises(CollectError, match="again and again"):
        list(captions([IDS[5]], tmp_path, web=web, base=f"{service.url}/oembed"))
    assert len(tiktok.asked) == 3


def test_three_failures_in_a_row_end_it(web, tmp_path):
    tiktok = TikTok(**{f"v{video}": [(500, {}, b"")] * 9 for video in IDS[2:]})
    with standing_in(tiktok) as service:
        asking = captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed", workers=1)
        with pytest.raises(CollectError, match="status 500 and no caption: 2 of 12 captions came"):
            list(asking)
    assert len(tiktok.asked) == 5
    hasty = Web(public_only=False, seconds=0.2)
    for ids in (["1"], ["1", *IDS[:2], "2", "3"]):
        hanging = standing_in(lambda *_: "hang")
        with hanging as service, pytest.raises(CollectError, match=r"within 0\.2 s: 0 of"):
            list(captions(ids, tmp_path, web=hasty, base=f"{service.url}/oembed", workers=1))
    hasty.close()


def test_one_that_fails_now_and_then_is_asked_again_and_one_that_always_fails_is_left(web, tmp_path):
    odd = as_json({"title": None})
    tiktok = TikTok(**{f"v{IDS[0]}": [(200, {}, b"<html>")], f"v{IDS[3]}": [odd, odd, odd]})
    with standing_in(tiktok) as service:
        got = dict(captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed", workers=1))
    assert sorted(got) == sorted({*IDS} - {IDS[3]})
    assert (tiktok.asked.count(IDS[0]), tiktok.asked.count(IDS[3])) == (2, 2)


def test_a_private_address_is_refused_at_once(tmp_path):
    with standing_in(TikTok()) as service, pytest.raises(CollectError, match="only public addresses"):
        list(captions(IDS, tmp_path, base=f"{service.url}/oembed"))
    assert not service.calls


def test_it_stops_when_told(web, tmp_path):
    got = []
    with standing_in(TikTok()) as service:
        asking = captions(IDS, tmp_path, web=web, base=f"{service.url}/oembed", workers=1, stopped=lambda: len(got) > 2)
        got.extend([next(asking), next(asking), next(asking)])
        assert list(asking) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectError, match="Cannot keep"):
        list(captions(IDS, tmp_path / "file"))


def test_what_was_replaced_leaves_the_disk(tmp_path):
    path = tmp_path / "kept.jsonl"
    with Kept(path) as kept:
        kept.keep("a", "secret")
        kept.keep("b", {"x": [1, None]})
        kept.keep("a", None)
        assert (kept["a"], kept["b"], "c" in kept) == (None, {"x": [1, None]}, False)
        assert kept.age("a") < 5
    assert "secret" not in path.read_text()
    path.write_text('nonsense\n{"id": 1}\n[]\n' + path.read_text() + '{"id": "b", "at": 1, "va')
    with Kept(path) as kept:
        assert (kept["a"], kept["b"]) == (None, {"x": [1, None]})
        kept.keep("c", 3)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b", "c"]
    assert [p.name for p in tmp_path.iterdir()] == ["kept.jsonl"]
