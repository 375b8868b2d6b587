"""Whatever is given: it is read or refused in one sentence, every row is counted, and nothing is written."""

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.detect import SOURCES, open_source
from collectors.instagram_export import InstagramExport
from collectors.item import CollectError
from collectors.reddit_export import RedditExport
from collectors.tiktok_export import TikTokExport
from collectors.x_export import XExport

LINK = "https://www.reddit.com/r/Jokes/comments/a1/two_men/"
VOTES = f"id,permalink,direction\na1,{LINK},up\na2,{LINK},down\n"
VIDEO = {"Date": "2026-01-14 12:00:00", "Link": "https://www.tiktokv.com/share/video/7000000001/"}
TIKTOK = json.dumps({"Activity": {"Like List": {"ItemFavoriteList": [VIDEO] * 3}, "Favorite Videos": None}})
POST = {"href": "https://www.instagram.com/p/CODE_1/", "timestamp": 1768392000}
LIKED = json.dumps({"likes_media_likes": [{"title": "me", "string_list_data": [POST]}]})
LIKES = "window.YTD.like.part0 = " + json.dumps([{"like": {"tweetId": "1", "fullText": "a"}}] * 2)
ITEM = {"source": "x", "source_id": "1", "kind": "post", "text": "a"}
FILES = {
    "post_votes.csv": VOTES,
    "comments.csv": "id,permalink,date,ip,body\nk1,x,2026-01-14 12:00:00 UTC,y,text\n",
    "user_data_tiktok.json": TIKTOK,
    "Like List.txt": "Date: 2026-01-14 12:00:00 UTC\nLink: https://www.tiktokv.com/share/video/7000000001/\n",
    "liked_posts.json": LIKED,
    "data/like.js": LIKES,
    "me.jsonl": json.dumps({"user": "me", "item": ITEM, "signal": None}),
}
EXPORTS = (RedditExport, TikTokExport, InstagramExport, XExport)
names = st.sampled_from(
    [*FILES, "posts.csv", "a/saved_posts.json", "../x.csv", "/like.js", "Watch History.txt", "a.png"]
)
SETTINGS = settings(max_examples=25, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(path: Path) -> None:
    """All that may be done with a file: its own source, and every collector of exports whatever it is."""
    before = listing(path.parent)
    ways = [lambda: open_source(path)] + [lambda source=source: open_source(path, source) for source in SOURCES]
    for way in [*ways, *(lambda export=export: export(path) for export in EXPORTS)]:
        with suppress(CollectError):
            source = way()
            kept, said = 0, ""
            try:
                for _ in source:
                    kept += 1
            except CollectError as error:
                said = str(error)
            report = source.report()
            assert kept == report.kept
            assert said or kept
            assert "\n" not in said
            assert report.found == report.kept + sum(report.skipped.values())
            json.dumps(report.as_json())
    assert listing(path.parent) == before


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((p.as_posix(), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*"))


def archive_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


def mutated(content: bytes, changes: list[tuple[int, int]], end: int) -> bytes:
    data = bytearray(content)
    for place, byte in changes:
        data[place % len(data)] = byte
    return bytes(data[: len(data) - end % len(data)])


CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6)
ENDS = st.one_of(st.just(0), st.integers(0, 2000))


@SETTINGS
@given(CHANGES, ENDS, st.sampled_from(list(FILES)))
def test_files_with_bytes_changed_and_cut_off(tmp_path, changes, end, name):
    path = tmp_path / Path(name).name
    path.write_bytes(mutated(FILES[name].encode(), changes, end))
    check(path)


@settings(SETTINGS, max_examples=60)
@given(CHANGES, ENDS, st.sampled_from(list(FILES)), st.sampled_from([zipfile.ZIP_DEFLATED, 0, zipfile.ZIP_LZMA, 12]))
def test_zips_with_bytes_changed_and_cut_off(tmp_path, changes, end, name, compression):
    path = tmp_path / "export.zip"
    path.write_bytes(mutated(archive_of({name: FILES[name].encode()}, compression), changes, end))
    check(path)


@SETTINGS
@given(st.dictionaries(names, st.one_of(st.sampled_from([v.encode() for v in FILES.values()]), st.binary(max_size=60))))
def test_zips_of_wrong_names(tmp_path, files):
    path = tmp_path / "export.zip"
    path.write_bytes(archive_of(files))
    check(path)


# The words that the collectors look for, in shapes they do not expect.
WORDS = [
    "Activity",
    "Like List",
    "ItemFavoriteList",
    "Watch History",
    "VideoList",
    "Direct Messages",
    "likes_media_likes",
]
WORDS += [
    "saved_saved_media",
    "string_list_data",
    "label_values",
    "href",
    "title",
    "timestamp",
    "like",
    "tweet",
    "tweetId",
]
WORDS += [
    "Link",
    "Date",
    "user",
    "item",
    "signal",
    "text",
    VIDEO["Link"],
    POST["href"],
    "Wed Jan 14 12:00:00 +0000 2026",
]
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(WORDS))
shapes = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
)


@settings(SETTINGS, max_examples=60)
@given(shapes, st.sampled_from(["", "window.YTD.like.part0 = ", "window.YTD.tweets.part0 = ", "\ufeff"]), names)
def test_json_of_any_shape(tmp_path, shape, prefix, name):
    path = tmp_path / Path(name).name
    path.write_text(prefix + json.dumps(shape))
    check(path)


cells = st.one_of(st.sampled_from(["a1", LINK, "up", "", '"', "\r", "\0", "\ud800", "[deleted]"]), st.text(max_size=8))
rows = st.lists(st.lists(cells, max_size=5).map(",".join), max_size=8).map("\n".join)


@settings(SETTINGS, max_examples=40)
@given(
    rows, st.sampled_from(["id,permalink,direction\n", "\ufeffid,permalink,date,ip,body\n", "text,like\n", ""]), names
)
def test_csv_of_any_shape(tmp_path, content, head, name):
    path = tmp_path / Path(name).name
    path.write_bytes((head + content).encode(errors="surrogatepass"))
    check(path)


@pytest.mark.parametrize("name", FILES)
def test_what_is_not_harmed_is_read(tmp_path, name):
    path = tmp_path / Path(name).name
    path.write_text(FILES[name])
    assert list(open_source(path))
