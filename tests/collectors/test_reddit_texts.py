import gzip
import json
import sys
import time
from datetime import UTC, datetime

import pytest
import zstandard

from collectors import reddit_texts
from collectors.item import CollectError, Item
from collectors.pseudonym import pseudonym
from collectors.reddit_texts import from_dump, from_service
from collectors.web import Web
from tests.collectors.stand_in import as_json, standing_in

POST = {
    "id": "abc1", "name": "t3_abc1", "title": "Cats &amp; dogs",
    "selftext": "He said &lt;no&gt;.\n\nShe &amp;amp; left.", "subreddit": "Jokes",
    "author": "ann", "created_utc": 1704067200.0, "permalink": "/r/Jokes/comments/abc1/cats/",
    "removed_by_category": None, "url": "https://x.example", "media": {"id": "zzz"},
}  # fmt: skip
COMMENT = {
    "id": "def2", "body": "Funny.", "link_id": "t3_abc1", "parent_id": "t3_abc1", "subreddit": "Jokes",
    "author": "[deleted]", "created_utc": "1704067201",
}  # fmt: skip
AT = datetime(2024, 1, 1, tzinfo=UTC)


def post(name, **changes):
    return POST | {"id": name, "name": f"t3_{name}", "permalink": None} | changes


GONE = [
    post("g1", selftext="[removed]"),
    post("g2", selftext="[deleted]", author="[deleted]"),
    post("g3", title="[deleted by user]", selftext=""),
    post("g4", removed_by_category="moderator"),
    post("g5", _meta={"was_deleted_later": True, "removal_type": "deleted"}),  # the text is still in the dump
    COMMENT | {"id": "g6", "body": "[removed]"},
]
WANTED = ["t3_abc1", "t1_def2", "t3_none", "t3_g1", "t3_g2", "t3_g3", "t3_g4", "t3_g5", "t1_g6", "no fullname"]


@pytest.fixture(scope="module")
def web():
    with Web(public_only=False, seconds=5) as client:
        yield client


def lines(*rows):
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


@pytest.fixture(scope="module")
def content():
    return lines(
        post("other"), *GONE, b"", b"{broken", b'{"id": "abc1", "x"}', POST, post("abc1", title="again"), COMMENT
    )


def packed(path, content):
    if path.suffix == ".zst":
        window = zstandard.ZstdCompressionParameters(window_log=31, hash_log=10, chain_log=10, strategy=1)
        frames = b""
        for part in (content[:1500], content[1500:]):  # some dumps are several frames
            stream = zstandard.ZstdCompressor(compression_params=window).compressobj()  # size unknown: a whole window
            frames += stream.compress(part) + stream.flush()
        content = frames
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["RS.jsonl", "RS", "RS.jsonl.gz", "RS.zst"])
def test_a_dump_gives_what_is_wanted_and_still_there(tmp_path, content, name):
    texts = from_dump(packed(tmp_path / name, content), WANTED)
    items = list(texts)
    assert items == [
        Item(
            "reddit", "t3_abc1", "post", "Cats & dogs\n\nHe said <no>.\n\nShe &amp; left.", "Jokes",
            pseudonym("reddit", "ann"), created_at=AT, url="https://www.reddit.com/r/Jokes/comments/abc1/cats/",
        ),
        Item(
            "reddit", "t1_def2", "comment", "Funny.", "Jokes", "", created_at=AT.replace(second=1),
            url="https://www.reddit.com/comments/abc1/_/def2/",
        ),
    ]  # fmt: skip
    assert (texts.found, texts.missing, texts.broken) == (2, {"t3_none"}, 2)
    assert texts.removed == {"t3_g1", "t3_g2", "t3_g3", "t3_g4", "t3_g5", "t1_g6"}
    assert list(texts) == items
    assert texts.found == 2


def test_a_dump_is_read_no_further_than_needed(tmp_path):
    path = tmp_path / "RS.jsonl"
    path.write_bytes(lines(POST, b"{broken"))
    texts = from_dump(path, ["t3_abc1"])
    assert (len(list(texts)), texts.broken) == (1, 0)
    assert list(from_dump(tmp_path / "not there", [])) == []


def test_long_lines_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(reddit_texts, "MAX_LINE", 2_000)
    path = tmp_path / "RC.jsonl"
    path.write_bytes(lines(post("abc1", selftext="x" * 7_000), b"\xff{}", POST)[:-1])
    texts = from_dump(path, WANTED)
    assert [item.source_id for item in texts] == ["t3_abc1"]
    assert texts.broken == 2


def test_odd_values_lose_a_row_at_most(tmp_path):
    odd = [post("a1", title=5, selftext=None), post("a2", title=None, selftext=[]), {"id": 7, "x": {"id": "a3"}}]
    odd += [post("a4", author=None, subreddit=None, created_utc="soon", _meta="x", permalink=3), {"name": "a5"}]
    odd += [post("a6", created_utc=1e300, permalink="/r/\u202ex\n")]
    path = tmp_path / "RS.jsonl"
    path.write_bytes(lines(*odd))
    texts = from_dump(path, [f"t3_a{n}" for n in range(1, 7)])
    items = {item.source_id: item for item in texts}
    assert set(items) == {"t3_a4", "t3_a6"}
    assert (items["t3_a4"].url, items["t3_a4"].created_at) == ("https://www.reddit.com/comments/a4/", None)
    assert (texts.removed, texts.broken) == ({"t3_a1", "t3_a2"}, 2)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("RS.zst", b"no zstd", "is damaged"),
        ("RS.gz", b"no gzip", "cut off or damaged"),
        ("RS.gz", gzip.compress(b"{}\n" * 50, mtime=0)[:-12], "cut off or damaged"),
        ("", b"", "Cannot read"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, name, content, says):
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CollectError, match=says):
        list(from_dump(tmp_path / name, WANTED))


def test_zstandard_is_asked_for_only_where_it_is_needed(tmp_path, content, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert list(from_dump(packed(tmp_path / "RS.gz", content), WANTED))
    (tmp_path / "RS.zst").write_bytes(b"")
    with pytest.raises(CollectError, match=r"pip install -r requirements-sources\.txt"):
        list(from_dump(tmp_path / "RS.zst", WANTED))


class Archive:
    """Arctic Shift with these rows; `replies` come first."""

    def __init__(self, *rows, replies=()):
        self.rows, self.replies, self.asked = list(rows), list(replies), []

    def __call__(self, method, path, query, headers, body):
        ids = query["ids"][0].split(",")
        self.asked.append((path, ids))
        if self.replies:
            return self.replies.pop(0)
        comments = path == "/api/comments/ids"
        assert comments or path == "/api/posts/ids"
        return as_json({"data": [row for row in self.rows if row["id"] in ids and ("body" in row) == comments]})


def test_the_archive_is_asked_once(web, tmp_path):
    archive = Archive(POST, COMMENT, *GONE)
    with standing_in(archive) as service:
        texts = from_service(WANTED, web=web, base=service.url, cache=tmp_path)
        assert service.calls == []  # online only when iterated
        first = list(texts)
        assert [item.source_id for item in first] == ["t3_abc1", "t1_def2"]
        assert (texts.missing, len(texts.removed)) == ({"t3_none"}, 6)
        assert archive.asked[1] == ("/api/comments/ids", ["def2", "g6"])
        archive.asked.clear()
        again = from_service(WANTED, web=web, base=service.url, cache=tmp_path)
        assert sorted(again, key=lambda item: item.source_id, reverse=True) == first
        assert again.removed == texts.removed
    assert archive.asked == [("/api/posts/ids", ["none"])]
    assert "ann" not in (tmp_path / "reddit-texts.jsonl").read_text()


def test_a_removal_is_honoured_on_disk_too(web, tmp_path, monkeypatch):
    archive = Archive(POST)
    with standing_in(archive) as service:
        assert len(list(from_service(["t3_abc1"], web=web, base=service.url, cache=tmp_path))) == 1
        archive.rows = [POST | {"selftext": "[deleted]"}]
        monkeypatch.setattr(reddit_texts, "FRESH", -1.0)  # as if a month had passed
        texts = from_service(["t3_abc1"], web=web, base=service.url, cache=tmp_path)
        assert list(texts) == []
    assert texts.removed == {"t3_abc1"}
    assert "dogs" not in (tmp_path / "reddit-texts.jsonl").read_text()


def test_many_ids_are_asked_in_batches(web, tmp_path, monkeypatch):
    monkeypatch.setattr(reddit_texts, "BATCH", 3)
    archive = Archive(*(post(f"p{n}") for n in range(7)))
    with standing_in(archive) as service:
        wanted = [f"t3_p{n}" for n in range(7)]
        assert len(list(from_service(wanted, web=web, base=service.url, cache=tmp_path / "a"))) == 7
        assert [len(ids) for _, ids in archive.asked] == [3, 3, 1]
        stop = from_service(wanted, web=web, base=service.url, cache=tmp_path / "b", stopped=lambda: True)
        assert (list(stop), len(stop.missing)) == ([], 7)


@pytest.mark.parametrize(
    ("replies", "says", "calls"),
    [
        ([(429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "0"}, b"")], "status 503", 2),
        ([(429, {"Retry-After": "900"}, b"")], "status 429", 1),
        ([(400, {}, b"")], "status 400", 1),
    ],
)
def test_one_more_try_and_no_storm(web, tmp_path, replies, says, calls):
    archive = Archive(POST, replies=[as_json({"data": [post("p1")]}), *replies])
    with standing_in(archive) as service:
        assert list(from_service(["t3_p1"], web=web, base=service.url, cache=tmp_path))
        texts = from_service(["t3_p1", "t3_p2"], web=web, base=service.url, cache=tmp_path)
        with pytest.raises(CollectError, match=f"{says}: what came is kept"):
            list(texts)
    assert (texts.found, len(archive.asked)) == (1, 1 + calls)


def test_a_passing_failure_costs_nothing(web, tmp_path, monkeypatch):
    monkeypatch.setattr(reddit_texts, "pause", lambda seconds, stopped: None)
    for n, reply in enumerate(["cut", (200, {}, b"<html>"), as_json({"data": None, "error": "slow"}), as_json([])]):
        with standing_in(Archive(POST, replies=[reply])) as service:
            texts = from_service(["t3_abc1"], web=web, base=service.url, cache=tmp_path / str(n))
            assert len(list(texts)) == 1


def test_the_archive_has_an_end_in_time_and_odd_rows_are_counted(web, tmp_path, monkeypatch):
    monkeypatch.setattr(reddit_texts, "pause", lambda seconds, stopped: None)
    hanging = standing_in(lambda *_: "hang")
    began = time.monotonic()
    with Web(public_only=False, seconds=0.2) as hasty, hanging as service:
        texts = from_service(["t3_abc1"], web=hasty, base=service.url, cache=tmp_path)
        with pytest.raises(CollectError, match=r"within 0\.2 s: what came is kept"):
            list(texts)
        assert len(service.calls) == 2
    assert time.monotonic() - began < 3
    odd = as_json({"data": [None, 5, {}, {"id": 3}, post("uninvited"), POST]})
    with standing_in(Archive(replies=[odd])) as service:
        texts = from_service(["t3_abc1"], web=web, base=service.url, cache=tmp_path)
        assert (len(list(texts)), texts.broken) == (1, 5)
