"""What the collectors find in the synthetic exports, beside what is in them by csv, json and counting alone."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collectors.detect import detect, open_source

Lists = dict[str, int]
REDDIT = ("post_votes", "comment_votes", "saved_posts", "saved_comments", "hidden_posts", "posts", "comments")
TIKTOK = {
    ("Like List", "ItemFavoriteList"): "likes",
    ("Favorite Videos", "FavoriteVideoList"): "favourites",
    ("Watch History", "VideoList"): "watched",
    ("Video Browsing History", "VideoList"): "watched",
}
PRIVATE = ("PRIVATE", "SENTINEL", "192.0.2.", "synthetic_friend", "reddit.com/message")  # in them, and never to be read


def run(data: Path) -> Iterator[str]:
    """A line for each fact: what, expected, found. The last line counts those that differ. `data` holds the folders
    reddit_export_synthetic, tiktok_export_synthetic and other_exports_synthetic."""
    facts = wrong = 0
    for what, expected, found in _facts(data):
        facts += 1
        wrong += expected != found
        yield f"{'ok ' if expected == found else 'BAD'} {what}: expected {expected}, found {found}"
    yield f"{wrong} of {facts} facts are wrong"


def _facts(data: Path) -> Iterator[tuple[str, object, object]]:
    reddit, tiktok, other = (data / f"{name}_synthetic" for name in ("reddit_export", "tiktok_export", "other_exports"))
    [export] = reddit.glob("*.zip")
    yield from _of_file(export, "reddit_export", {name: len(_rows(export, name)) for name in REDDIT})
    yield from _of_reddit(export)
    for path in sorted(tiktok.glob("*.zip")):
        yield from _of_file(path, "tiktok_export", _tiktok(path))
    for name, counts in json.loads((tiktok / "truth.json").read_text())["counts"].items():
        said = {"watched": counts["watch"], "likes": counts["like"], "favourites": counts["fav"]}
        yield f"{name}, its own truth file", said, _found(tiktok / f"{name}.zip")
    txt = tiktok / "Like List.txt"
    yield from _of_file(txt, "tiktok_export", {"likes": len(re.findall("(?m)^Link:", _text(txt)))})
    for name, of_list, key in (
        ("instagram_liked_posts_legacy", "likes", "likes_media_likes"),
        ("instagram_liked_posts_label_values", "likes", None),
        ("instagram_saved_posts_legacy", "saved", "saved_saved_media"),
    ):
        whole = json.loads(_text(other / f"{name}.json"))
        lists = {of_list: len(whole[key] if key else whole)}
        yield from _of_file(other / f"{name}.json", "instagram_export", lists)
    for file, name in (("x_like.js", "likes"), ("x_tweets.js", "tweets")):
        path = other / file
        script = _text(path)
        lists = {name: len(json.loads(script[script.index("[") :]))}
        yield from _of_file(path, "x_export", lists)


def _of_file(path: Path, kind: str, lists: Lists) -> Iterator[tuple[str, object, object]]:
    """The facts that every export has."""
    yield f"{path.name}, kind", kind, detect(path)
    source = open_source(path)
    pairs = list(source)
    report = source.report()
    yield f"{path.name}, rows of each list", lists, report.lists
    yield f"{path.name}, kept and skipped", report.found, report.kept + sum(report.skipped.values())
    told = repr(pairs) + json.dumps(report.as_json())
    yield f"{path.name}, private things read", [], [word for word in PRIVATE if word in told]


def _of_reddit(path: Path) -> Iterator[tuple[str, object, object]]:
    signs = Counter((signal.origin, signal.sign) for _, signal in open_source(path) if signal)
    for name in ("post_votes", "comment_votes"):
        said = Counter(row["direction"] for row in _rows(path, name))
        for direction, sign in (("up", 1), ("down", -1)):
            yield f"{path.name}, {name} {direction}", said[direction], signs[f"reddit:{name}", sign]
    bodies = {row["id"]: row["body"] for row in _rows(path, "comments")}
    read = {item.source_id[3:]: item.text for item, s in open_source(path) if s and s.origin == "reddit:comments"}
    yield f"{path.name}, own comments word for word", len(bodies), sum(read.get(key) == bodies[key] for key in bodies)


def _found(path: Path) -> Lists:
    source = open_source(path)
    for _ in source:
        pass
    return source.report().lists


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as file:
        return list(csv.DictReader(io.StringIO(file.read(f"{name}.csv").decode("utf-8-sig"))))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _tiktok(path: Path) -> Lists:
    """Lengths of the lists by the names of their keys, wherever these stand."""
    found: Counter[str] = Counter()

    def walk(value: Any, under: str) -> None:
        for key, inner in value.items() if isinstance(value, dict) else ():
            name = TIKTOK.get((under, key))
            if name and inner:
                found[name] += len(inner)
            walk(inner, key)

    with zipfile.ZipFile(path) as file:
        walk(json.loads(file.read("user_data_tiktok.json")), "")
    return dict(found)
