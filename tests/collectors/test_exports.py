"""The exports that people can ask the platforms for. Every fixture is made here; none is anybody's."""

import json
import os
import stat
import time
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from collectors import archive, json_events, listed
from collectors.archive import Archive
from collectors.dates import parse_date
from collectors.detect import detect, open_source
from collectors.instagram_export import InstagramExport
from collectors.item import CollectError, Item, Signal, write_reactions
from collectors.pseudonym import pseudonym
from collectors.reddit_export import RedditExport
from collectors.tiktok_export import TikTokExport
from collectors.x_export import XExport

SECRET = "PRIVATE sentinel 7b1f"
REDDIT = "https://www.reddit.com/r/Jokes/comments/"
VOTES = f"id,permalink,direction\nabc1,{REDDIT}abc1/two_men_walk_in/,up\n"
NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)


@pytest.fixture
def packed(tmp_path):
    """Writes files by name into a zip or, where the name says no zip, a folder."""

    def pack(files, name="export.zip"):
        path = tmp_path / name
        contents = {k: v if isinstance(v, bytes | str) else json.dumps(v) for k, v in files.items()}
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for inner, content in contents.items():
                    file.writestr(inner, content)
            return path
        for inner, content in contents.items():
            (path / inner).parent.mkdir(parents=True, exist_ok=True)
            (path / inner).write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return pack


@pytest.fixture
def written(tmp_path):
    def write(content, name):
        path = tmp_path / name
        content = content if isinstance(content, bytes | str) else json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(source):
    """All pairs; that a second pass gives the same, that all rows are counted and that nothing private surfaced."""
    pairs = list(source)
    assert list(source) == pairs
    report = source.report()
    assert report.found == report.kept + sum(report.skipped.values()) == sum(report.lists.values())
    assert report.kept == len(pairs)
    assert SECRET not in repr(pairs) + repr(report)
    assert all(signal.item_id == item.id for item, signal in pairs)
    return pairs


def shown(source):
    """What was shown, in order: id, sign, strength, origin."""
    return [(item.id, signal.sign, signal.strength, signal.origin) for item, signal in read(source)]


# ---- Reddit


def test_every_list_of_reddit(packed):
    path = packed(
        {
            "export/post_votes.csv": "\ufeff"
            + VOTES
            + f"abc2,{REDDIT}abc2/a_duck/,down\nabc3,{REDDIT}abc3/x/,none\nabc4,{REDDIT}abc4/x/,removed\n"
            + f"abc5,{REDDIT}abc5/x/,sideways\nab.6,{REDDIT}abc6/x/,up\nabc1,{REDDIT}abc1/two_men_walk_in/,up\n",
            "export/Comment_Votes.CSV": f"id,permalink,direction\nc1,{REDDIT}abc1/two_men_walk_in/c1/,down\n",
            "export/saved_posts.csv": f"id,permalink\nabc1,{REDDIT}abc1/two_men_walk_in/\n",
            "export/saved_comments.csv": f"id,permalink\nc2,{REDDIT}abc1/comment/c2/\n",
            "export/hidden_posts.csv": f"id,permalink\nabc9,{REDDIT}abc9/na_%C3%AFve/\n",
            "export/posts.csv": "id,permalink,date,ip,subreddit,gildings,title,url,body\n"
            f"p1,{REDDIT}p1/own/,2026-01-14 12:00:00 UTC,{SECRET},Jokes,0,My own,,"
            '"It has\ntwo lines, and ""quotes""."\n'
            f"p2,{REDDIT}p2/gone/,2026-01-14 12:00:00 UTC,{SECRET},Jokes,0,Gone,,[removed]\n",
            "export/comments.csv": "id,permalink,date,ip,subreddit,gildings,link,parent,body,media\n"
            f"k1,{REDDIT}abc1/x/k1/,,{SECRET},Jokes,0,,,A reply.,\n"
            f"k2,{REDDIT}abc1/x/k2/,,{SECRET},Jokes,0,,,[deleted],\n"
            f"k3,{REDDIT}abc1/x/k3/,,{SECRET},Jokes,0,,, ,\n",
            "export/subscribed_subreddits.csv": "subreddit\nJokes\ndadjokes\nJokes\n",
            "export/messages.csv": f"id,permalink,body\nm1,x,{SECRET}\n",
            "export/chat_history.csv": f"id,permalink,body\nm1,x,{SECRET}\n",
            "export/ip_logs.csv": f"date,ip\nx,{SECRET}\n",
            "export/post_headers.csv": f"id,permalink\nm1,{SECRET}\n",
        }
    )
    source = open_source(path)
    assert shown(source) == [
        ("reddit:t3_abc1", 1, 1.0, "reddit:post_votes"),
        ("reddit:t3_abc2", -1, 1.0, "reddit:post_votes"),
        ("reddit:t1_c1", -1, 1.0, "reddit:comment_votes"),
        ("reddit:t3_abc1", 1, 1.0, "reddit:saved_posts"),
        ("reddit:t1_c2", 1, 1.0, "reddit:saved_comments"),
        ("reddit:t3_abc9", 0, 0.3, "reddit:hidden_posts"),
        ("reddit:t3_p1", 0, 1.0, "reddit:posts"),
        ("reddit:t1_k1", 0, 1.0, "reddit:comments"),
    ]
    report = source.report()
    assert report.skipped == {
        "vote taken back": 2,
        "direction not understood": 1,
        "id not understood": 1,
        "duplicate": 1,
        "deleted": 2,
        "empty text": 1,
    }
    assert report.lists == {
        "post_votes": 7,
        "comment_votes": 1,
        "saved_posts": 1,
        "saved_comments": 1,
        "hidden_posts": 1,
        "posts": 2,
        "comments": 3,
    }
    assert (report.likes, report.dislikes, report.with_text, report.stand_ins) == (2, 2, 7, 5)
    assert source.communities == ("Jokes", "dadjokes")
    items = {signal.origin[7:]: item for item, signal in source}
    assert items["saved_posts"].text == "Two men walk in"
    assert items["comment_votes"].text == "Two men walk in"
    assert items["comment_votes"].url == REDDIT + "abc1/two_men_walk_in/c1/"
    assert items["hidden_posts"].text == "Na ïve"
    assert items["saved_comments"].text == ""  # newer links do not name the thread
    assert not items["saved_comments"].stand_in
    own = Item("reddit", "t3_p1", "post", 'My own\n\nIt has\ntwo lines, and "quotes".', "Jokes")
    assert items["posts"] == Item(**{**fields(own), "created_at": NOON, "url": REDDIT + "p1/own/"})


def fields(item):
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def test_own_words_replace_those_of_the_link(packed):
    votes = f"id,permalink,direction\np1,{REDDIT}p1/my_own/,up\nk1,{REDDIT}p1/my_own/k1/,up\n"
    path = packed(
        {
            "post_votes.csv": votes.replace(f"k1,{REDDIT}p1/my_own/k1/,up\n", ""),
            "comment_votes.csv": votes.replace(f"p1,{REDDIT}p1/my_own/,up\n", ""),
            "posts.csv": f"id,permalink,date,ip,subreddit,gildings,title,url,body\n"
            f"p1,{REDDIT}p1/my_own/,,,Jokes,0,My own!,,\n",
            "comments.csv": f"id,permalink,body\nk1,{REDDIT}p1/my_own/k1/,Indeed.\n",
        },
        "folder",
    )
    texts = [(item.text, item.stand_in) for item, _ in read(RedditExport(path))]
    assert texts == [("My own!", False), ("Indeed.", False)] * 2


@pytest.mark.parametrize(
    ("link", "url", "community", "words"),
    [
        ("/r/Jokes/comments/a1/the_end/", REDDIT + "a1/the_end/", "Jokes", "The end"),
        ("https://old.reddit.com/r/Jokes/comments/a1/the_end?x=1", REDDIT + "a1/the_end/", "Jokes", "The end"),
        ("https://reddit.com/r/Jokes/comments/a1", REDDIT + "a1/", "Jokes", ""),
        (
            "https://www.reddit.com/user/some_one/comments/a1/the_end/",
            "https://www.reddit.com/user/some_one/comments/a1/the_end/",
            "",
            "The end",
        ),
        (REDDIT + "a1/%3Cb%3E%E2%80%AE/", REDDIT + "a1/%3Cb%3E%E2%80%AE/", "Jokes", "<b>"),
        ("https://reddit.com.evil.example/r/Jokes/comments/a1/x/", None, "", ""),
        ("https://evilreddit.com/r/Jokes/comments/a1/x/", None, "", ""),
        ("javascript:/r/Jokes/comments/a1/x/", None, "", ""),
        ("http://[/r/Jokes/comments/a1/x/", None, "", ""),
        (REDDIT + "../../x", None, "", ""),
        ("", None, "", ""),
    ],
)
def test_links_of_reddit(packed, link, url, community, words):
    source = RedditExport(packed({"saved_posts.csv": f"id,permalink\na1,{link}\nb1,{REDDIT}b1/other/\n"}))
    items = {item.source_id: item for item, _ in read(source)}
    if url is None:
        assert source.report().skipped == {"link not understood": 1}
        assert "t3_a1" not in items
    else:
        found = items["t3_a1"]
        assert (found.url, found.community, found.text, found.stand_in) == (url, community, words, bool(words))


def test_parts_of_a_split_list_come_in_order_and_count_together(packed):
    parts = {f"post_votes_{n}.csv": VOTES.replace("abc1", f"abc{n}") for n in (10, 2, 1)}
    source = RedditExport(packed(parts))
    assert [item.source_id for item, _ in read(source)] == ["t3_abc1", "t3_abc2", "t3_abc10"]
    assert source.report().lists == {"post_votes": 3}


def test_flawed_rows_of_reddit_cost_no_other(packed):
    rows = [
        "x,y",
        f'q1,"{REDDIT}q1/open/,up',  # the quote ends with the next one, in the row below
        f'q2,"{REDDIT}q2/open/",up',
        f"d1,{REDDIT}d1/fine/,up",
        "",
        f"\xff,{REDDIT}d2/x/,up",
        f"d3,{REDDIT}d3/{'x' * 300_000}/,up",
        f"T3_D4,{REDDIT}d4/fine/,UP",
    ]
    content = "id,permalink,direction\n" + "\n".join(rows) + "\n"
    source = RedditExport(packed({"post_votes.csv": content.encode("latin-1")}))
    assert [item.source_id for item, _ in read(source)] == ["t3_d1", "t3_d4"]
    assert source.report().skipped["row not understood"] >= 1


def test_an_open_quote_does_not_swallow_the_address_of_the_next_row(packed):
    rows = f'k1,{SECRET},"open\nk2,{SECRET},"closed"\nk3,{SECRET},fine\n'
    source = RedditExport(packed({"comments.csv": "id,ip,body\n" + rows}))
    assert [item.text for item, _ in read(source)] == ["fine"]


def test_a_list_without_its_columns_is_skipped(packed):
    source = RedditExport(packed({"posts.csv": "title,body\nMine,yes\n", "post_votes.csv": VOTES}))
    assert len(read(source)) == 1
    assert source.report().skipped == {"id not understood": 1}


def test_many_votes_take_little_time_and_memory(packed):
    rows = (f"{n:x},{REDDIT}{n:x}/some_words_of_a_title_that_is_rather_long_{n}/,up\n" for n in range(200_000))
    path = packed({"post_votes.csv": "id,permalink,direction\n" + "".join(rows)})
    began = time.process_time()  # whatever else the machine does
    source = RedditExport(path)
    assert sum(1 for _ in source) == 200_000
    assert time.process_time() - began < 20
    few = packed(
        {
            "post_votes.csv": "id,permalink,direction\n"
            + "".join(VOTES[23:].replace("abc1", f"{n:x}") for n in range(25_000))
        },
        "few.zip",
    )
    assert peak_of(RedditExport(few)) < 25_000_000  # an eighth of 200 MB for an eighth of the rows


def peak_of(source):
    """The most bytes that reading it all held at once."""
    tracemalloc.start()
    try:
        for _ in source:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- TikTok


def tok(video, **more):
    return {
        "Date": "2026-01-14 12:00:00",
        "Link": f"https://www.tiktokv.com/share/video/{7_000_000_000 + video}/",
        **more,
    }


def lower(row):
    return {key.lower(): value for key, value in row.items()}


def video_link(row):
    return {"Date": row["Date"], "VideoLink": row["Link"]}


PRIVATE = {"Like List": {"ItemFavoriteList": [tok(90, Title=SECRET)]}, "From": SECRET, "Content": SECRET}
LAYOUTS = {
    "2020": {
        "Activity": {
            "Like List": {"ItemFavoriteList": [video_link(tok(1)), video_link(tok(2))]},
            "Favorite Videos": {"FavoriteVideoList": [tok(2)]},
            "Video Browsing History": {"VideoList": [video_link(tok(3))]},
        },
        "Direct Messages": {"Chat History": {"ChatHistory": {"Chat with x:": [PRIVATE]}}},
        "Video": {"Videos": {"VideoList": [tok(80, Title=SECRET)]}},
    },
    "2023": {
        "Activity": {
            "Favorite Videos": {"FavoriteVideoList": [tok(2)]},
            "Like List": {"ItemFavoriteList": [lower(tok(1)), tok(2)]},
            "Login History": {"LoginHistoryList": [{"IP": SECRET}], **PRIVATE},
            "Video Browsing History": {"VideoList": [tok(3)]},
        },
    },
    "2026": {
        "Comment": {"Comments": {"CommentsList": [{"comment": SECRET}], "Like List": PRIVATE["Like List"]}},
        "Direct Message": {"Tako Chat History": {"TakoChatHistoryList": [PRIVATE]}, "Direct Messages": PRIVATE},
        "Likes and Favorites": {
            "Favorite Sounds": {"FavoriteSoundList": [tok(70)]},
            "Favorite Videos": {"App": 1233, "FavoriteVideoList": [tok(2)]},
            "Like List": {"App": 1233, "ItemFavoriteList": [lower(tok(1)), lower(tok(2))]},
        },
        "Post": {
            "Posts": {"VideoList": [tok(80, Title=SECRET)]},
            "Recently Deleted Posts": {"VideoList": [tok(81, Title=SECRET)]},
        },
        "Your Activity": {"Reposts": {"RepostList": [tok(82)]}, "Watch History": {"VideoList": [tok(3, Title="")]}},
    },
}


@pytest.mark.parametrize("packing", ["zip", "nested", "folder", "file", "renamed"])
@pytest.mark.parametrize("year", LAYOUTS)
def test_every_layout_of_tiktok(packed, written, year, packing):
    content = LAYOUTS[year]
    path = {
        "zip": lambda: packed({"user_data_tiktok.json": content}),
        "nested": lambda: packed({"TikTok/a/user_data.json": content, "TikTok/a/picture.png": b"\x89PNG\0"}),
        "folder": lambda: packed({"user_data.json": content}, "folder"),
        "file": lambda: written(content, "user_data_tiktok.json"),
        "renamed": lambda: written(b"\xef\xbb\xbf" + json.dumps(content).encode(), "likes.txt"),
    }[packing]()
    assert detect(path) == "tiktok_export"
    source = open_source(path)
    assert sorted(shown(source)) == [
        ("tiktok:7000000001", 1, 1.0, "tiktok:likes"),
        ("tiktok:7000000002", 1, 1.0, "tiktok:favourites"),
        ("tiktok:7000000002", 1, 1.0, "tiktok:likes"),
        ("tiktok:7000000003", 0, 0.1, "tiktok:watched"),
    ]
    report = source.report()
    assert report.lists == {"likes": 2, "favourites": 1, "watched": 1}
    assert (report.likes, report.unrated, report.with_text, report.oldest, report.newest) == (2, 1, 0, NOON, NOON)
    item = next(item for item, _ in source if item.source_id == "7000000001")
    assert item == Item("tiktok", "7000000001", "post", "", url="https://www.tiktok.com/video/7000000001")


def test_rows_of_tiktok(written):
    rows = [
        tok(1, Title="A  cat \u202e"),
        tok(1),
        tok(2) | {"Date": "soon"},
        {"Date": "2026-01-14", "Link": "https://www.tiktok.com/@me"},
        {"Date": "2026-01-14", "Link": "https://example.org/video/7000000009/"},
        {"link": None},
        ["x"],
        None,
        tok(3) | {"Extra": [{"a": n} for n in range(5000)]},
        {"DATE": 1_768_392_000, "LINK": "https://www.tiktok.com/@me/video/7000000004?x=1"},
    ]
    source = TikTokExport(written({"Like List": {"ItemFavoriteList": rows}}, "a.json"))
    pairs = read(source)
    assert [item.source_id[-1] for item, _ in pairs] == ["1", "2", "3", "4"]
    assert [signal.at for _, signal in pairs] == [NOON, None, NOON, NOON]
    assert pairs[0][0].text == "A cat"
    assert source.report().skipped == {"duplicate": 1, "link not understood": 3, "row not understood": 2}


def test_text_files_of_tiktok(packed):
    block = "Date: 2026-01-14 12:00:00 UTC\r\nLink: https://www.tiktokv.com/share/video/700000000{}/\r\n"
    path = packed(
        {
            "TikTok/Like List.txt": "\ufeff" + block.format(1) + "\r\n" + block.format(2) + block.format(3),
            "TikTok/Favorite Videos.txt": "You have no data in this section",
            "TikTok/Watch History.txt": block.format(4) + "\nDate: 2026-01-14 12:00:00\nLink: none\n",
            "TikTok/Direct Messages.txt": f"Date: x\nLink: {SECRET}\n",
            "TikTok/Posts.txt": block.format(8),
        }
    )
    assert detect(path) == "tiktok_export"
    source = open_source(path)
    assert [(item.source_id[-1], signal.origin, signal.at) for item, signal in read(source)] == [
        ("1", "tiktok:likes", NOON),
        ("2", "tiktok:likes", NOON),
        ("3", "tiktok:likes", NOON),
        ("4", "tiktok:watched", NOON),
    ]
    assert source.report().skipped == {"link not understood": 1}


@pytest.mark.parametrize("empty", [None, [], {}, ""])
def test_empty_lists_of_tiktok(written, empty):
    content = {"Activity": {"Like List": {"ItemFavoriteList": empty}, "Favorite Videos": empty}}
    path = written(content, "a.json")
    with pytest.raises(CollectError, match=r"no likes.*ask TikTok for JSON with 'Likes and Favorites'"):
        list(open_source(path))
    content["Activity"]["Watch History"] = {"VideoList": [tok(1)]}
    assert len(read(open_source(written(content, "b.json")))) == 1


def test_json_that_is_cut_off_is_refused(written):
    whole = json.dumps(LAYOUTS["2026"])
    for end in range(len(whole) // 2, len(whole), 37):
        with pytest.raises(CollectError, match="is cut off or damaged"):
            list(TikTokExport(written(whole[:end], "a.json")))
    for content in ("", "nonsense", whole + "}", "\ufffe", '{"a": 1e999}', b'{"a": "\xff"}'):
        with pytest.raises(CollectError, match="is cut off or damaged"):
            list(TikTokExport(written(content, "a.json")))


def test_lists_too_deep_are_not_read_and_bombs_of_depth_refused(written):
    deep = {"Like List": {"ItemFavoriteList": [tok(1)]}}
    for _ in range(6):
        deep = {"a": deep}
    assert len(read(TikTokExport(written(deep, "a.json")))) == 1
    with pytest.raises(CollectError, match="no likes"):
        list(TikTokExport(written({"a": deep}, "a.json")))
    for bomb in ("[" * 1_000_000, '{"Like List":{"ItemFavoriteList":[' + '{"a":' * 1_000_000):
        with pytest.raises(CollectError, match="nested more than 64 deep"):
            list(TikTokExport(written(bomb, "a.json")))
        with pytest.raises(CollectError):
            open_source(written(bomb, "a.json")).__iter__().__next__()


def test_words_of_endless_length_are_refused_and_long_ones_not_kept(written):
    path = written('{"Like List": {"ItemFavoriteList": [{"Title": "' + "x" * 30_000_000 + '"}]}}', "a.json")
    source = TikTokExport(path)
    with pytest.raises(CollectError, match="a text of more than 1 MB"):
        list(source)
    for start in ('{"a": "', '{"a":  "'):  # a piece that is read ends between backslash and quote, or after both
        with pytest.raises(CollectError, match="a text of more than 1 MB"):
            list(TikTokExport(written(start + '\\"' * 1_000_000, "a.json")))
    path = written({"Like List": {"ItemFavoriteList": [tok(n, Title="x" * 1_000_000) for n in range(20)]}}, "a.json")
    assert peak_of(TikTokExport(path)) < 8_000_000


def test_messages_are_passed_over_in_little_memory(written):
    messages = {"Direct Messages": {"Chat": [{"Content": SECRET + "x" * 500} for _ in range(40_000)]}}
    path = written(messages | LAYOUTS["2023"], "a.json")
    assert path.stat().st_size > 20_000_000
    assert peak_of(TikTokExport(path)) < 3_000_000


# ---- Instagram and X


def test_every_layout_of_instagram(packed):
    legacy = {
        "title": "Zoë",  # on disk each byte of UTF-8 is a character
        "string_list_data": [{"href": "https://www.instagram.com/p/CODE_1/", "value": "x", "timestamp": 1768392000}],
    }
    legacy["title"] = legacy["title"].encode().decode("latin-1")
    recent = {
        "timestamp": 1768392000,
        "media": [],
        "fbid": "1",
        "label_values": [
            {"label": "Enlace", "value": "v", "href": "https://www.instagram.com/reel/CODE-2/"},
            {
                "title": "Dueño",
                "dict": [{"dict": [{"label": "Nombre", "value": "Z Z"}, {"label": "U", "value": "z.z"}]}],
            },
        ],
    }
    saved = {
        "title": "z.z",
        "string_map_data": {"Guardado": {"href": "https://instagram.com/tv/CODE_3/?x=1", "timestamp": 0}},
    }
    path = packed(
        {
            "a/likes/liked_posts.json": {"likes_media_likes": [legacy, legacy, {"title": "x"}, 5]},
            "a/likes/liked_posts_2.json": [recent],
            "a/likes/liked_comments.json": {"likes_comment_likes": [legacy | {"title": SECRET}]},
            "a/saved/saved_posts.json": {"saved_saved_media": [saved]},
            "a/messages/inbox/message_1.json": {"messages": [SECRET]},
        }
    )
    assert detect(path) == "instagram_export"
    source = open_source(path)
    pairs = read(source)
    assert [(item.source_id, item.url, signal.sign, signal.origin, signal.at) for item, signal in pairs] == [
        ("CODE_1", "https://www.instagram.com/p/CODE_1/", 1, "instagram:likes", NOON),
        ("CODE-2", "https://www.instagram.com/reel/CODE-2/", 1, "instagram:likes", NOON),
        ("CODE_3", "https://www.instagram.com/tv/CODE_3/", 1, "instagram:saved", None),
    ]
    assert [item.author_hash for item, _ in pairs] == [pseudonym("instagram", name) for name in ("Zoë", "z.z", "z.z")]
    assert source.report().skipped == {"duplicate": 1, "link not understood": 1, "row not understood": 1}
    assert source.report().lists == {"likes": 5, "saved": 1}


def test_instagram_with_nothing_liked_says_so(written):
    with pytest.raises(CollectError, match=r"no liked or saved post: ask Instagram for JSON"):
        list(open_source(written({"likes_media_likes": []}, "any.json")))


def like(number, **more):
    return {"like": {"tweetId": str(number), **more}}


def test_likes_and_own_posts_of_x(packed):
    tweet = {"id_str": "9", "full_text": "Mine &amp; only", "created_at": "Wed Jan 14 12:00:00 +0000 2026"}
    js = "window.YTD.{}.part{} = {}".format
    path = packed(
        {
            "data/like.js": js("like", 0, json.dumps([like(1, fullText="a &lt; b\u202e"), like(2), like("x"), 7])),
            "data/like-part1.js": js("like", 1, json.dumps([like(3), like(1)])),
            "data/tweets.js": js(
                "tweets", 0, json.dumps([{"tweet": tweet}, {"tweet": tweet | {"full_text": "RT @a: b"}}])
            ),
            "data/deleted-tweets.js": js("deleted_tweets", 0, json.dumps([{"tweet": tweet | {"full_text": SECRET}}])),
            "data/direct-messages.js": js("direct_messages", 0, json.dumps([SECRET])),
        }
    )
    assert detect(path) == "x_export"
    source = open_source(path)
    pairs = read(source)
    assert [(item.source_id, item.text, signal.sign, signal.origin) for item, signal in pairs] == [
        ("1", "a < b", 1, "x:likes"),
        ("2", "", 1, "x:likes"),
        ("3", "", 1, "x:likes"),
        ("9", "Mine & only", 0, "x:tweets"),
    ]
    assert pairs[0][0].url == "https://x.com/i/web/status/1"
    assert pairs[3][0].created_at == pairs[3][1].at == NOON
    assert source.report().lists == {"likes": 6, "tweets": 2}
    assert source.report().skipped == {"id not understood": 1, "row not understood": 1, "duplicate": 1, "repost": 1}


def test_one_file_of_x_by_any_name(written):
    content = "window.YTD.like.part0 = " + json.dumps([like(1)])
    assert shown(open_source(written(content, "a.txt"))) == [("x:1", 1, 1.0, "x:likes")]
    with pytest.raises(CollectError, match="is cut off or damaged"):
        list(XExport(written(content[:-3], "like.js")))
    with pytest.raises(CollectError, match=r"give data/like\.js"):
        open_source(written("window.YTD.ad_impressions.part0 = []", "a.js"))


# ---- which source it is


def test_reactions_of_one_person_are_a_source(tmp_path):
    path = tmp_path / "me.jsonl"
    item = Item("reddit", "t3_a", "post", "A joke.")
    pair = (item, Signal(item.id, 1, 0.5, NOON, "reddit:post_votes"))
    write_reactions(path, [("me", [pair, (Item("x", "1", "post", "Seen."), None)])])
    assert detect(path) == "reactions"
    source = open_source(path)
    assert next(iter(source)) == pair
    assert [item.source for item, _ in source] == ["reddit", "x"]
    assert source.report().kept == 2
    write_reactions(path, [("me", [pair]), ("you", [pair])])
    with pytest.raises(CollectError, match="several people"):
        list(open_source(path))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("text,like\na,1\n", "a.csv"),
        ("id,text,liked\n1,a,1\n", "post_votes.csv"),  # a name is not enough
        ('{"text": "a", "like": 1}\n{"text": "b"}\n', "a.txt"),
        ('{"text": "a"}', "a.json"),
        ("nonsense\n{}", "a.jsonl"),
        ("text\na\n".encode("utf-16"), "a.csv"),
        ("", "a.csv"),
    ],
)
def test_tables_are_what_is_left(written, content, name):
    assert detect(written(content, name)) == "table"


def test_options_reach_the_table_and_nothing_else(written, packed):
    assert len(list(open_source(written("a,b\nx,5\ny,1\n", "a.csv"), text="a", rating="b"))) == 2
    with pytest.raises(CollectError, match="a Reddit export: columns are named and scales given for tables only"):
        open_source(packed({"post_votes.csv": VOTES}), text="a")


def test_a_source_given_must_be_the_one_found(written, packed):
    path = packed({"user_data.json": LAYOUTS["2026"]}, "likes.zip")
    assert isinstance(open_source(path, "tiktok_export"), TikTokExport)
    with pytest.raises(CollectError) as caught:
        open_source(path, "reddit_export")
    assert str(caught.value) == (
        f"{path} is a TikTok export, not a Reddit one: choose TikTok or leave the source to be found."
    )
    with pytest.raises(CollectError, match="is a table, not an Instagram export: choose table or"):
        open_source(written("text\na\n", "a.csv"), "instagram_export")


def test_what_nobody_reads_is_named(packed, written, tmp_path):
    with pytest.raises(CollectError, match=r"empty: exports of Reddit, TikTok"):
        detect(packed({}))
    with pytest.raises(CollectError, match=r"2 files such as a.png, notes.txt, and no likes: exports of Reddit"):
        detect(packed({"a.png": b"\x89PNG\0", "notes.txt": "hello"}))
    inner = packed({"post_votes.csv": VOTES}, "inner.zip").read_bytes()
    with pytest.raises(CollectError, match="is a zip inside a zip: unpack the outer one and give the inner"):
        detect(packed({"a/export.zip": inner}, "outer.zip"))
    with pytest.raises(CollectError, match="is a folder with a zip in it"):
        detect(packed({"export.zip": inner}, "folder"))
    with pytest.raises(CollectError, match="is a damaged zip"):
        detect(written(inner[:-30], "cut.zip"))
    with pytest.raises(CollectError, match=r"JSON without a list of likes"):
        detect(written("[1, 2]", "a.json"))
    with pytest.raises(CollectError, match=r"cut off or damaged"):
        detect(written('{"a": [1,', "a.json"))
    with pytest.raises(CollectError, match=r"is no text"):
        detect(written(b"\x89PNG\r\n\x1a\n\0\0\0\xff\xfe\xfd\xfc\xfb", "a.png"))
    with pytest.raises(CollectError, match=r"such as Like List\.txt"):
        detect(written("Date: 2026-01-01\nLink: https://x/\n", "mine.txt"))
    with pytest.raises(CollectError, match=r"such as post_votes\.csv"):
        detect(written(VOTES, "mine.csv"))
    with pytest.raises(CollectError, match="No such file"):
        detect(tmp_path / "gone.zip")


def test_an_encrypted_zip_is_refused(packed):
    path = packed({"post_votes.csv": VOTES})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of the directory entry
    path.write_bytes(data)
    with pytest.raises(CollectError, match="is encrypted: unpack it with its password"):
        detect(path)


@pytest.mark.parametrize(
    "name", ["../post_votes.csv", "/tmp/post_votes.csv", "a/../../post_votes.csv", "a\\post_votes.csv"]
)
def test_names_that_point_elsewhere_are_no_files(packed, name):
    with pytest.raises(CollectError, match="is empty"):
        detect(packed({name: VOTES}))


def test_links_are_no_files(packed, tmp_path):
    outside = tmp_path / "outside.csv"
    outside.write_text(VOTES)
    path = packed({"other.txt": "x"}, "folder")
    os.symlink(outside, path / "post_votes.csv")
    assert Archive(path).names == ("other.txt",)
    linked = tmp_path / "linked.zip"
    with zipfile.ZipFile(linked, "w") as file:
        entry = zipfile.ZipInfo("post_votes.csv")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, str(outside))
    with pytest.raises(CollectError, match="is empty"):
        detect(linked)


def test_an_unusual_packing_and_a_file_without_a_name_are_refused(tmp_path):
    for name, kind, says in (("post_votes.csv", zipfile.ZIP_BZIP2, "unusual way"), ("x", 0, "is empty")):
        path = tmp_path / "export.zip"
        with zipfile.ZipFile(path, "w", kind) as file:
            file.writestr(name, VOTES)
        path.write_bytes(path.read_bytes().replace(b"x", b"\0"))  # a name ends at a NUL
        with pytest.raises(CollectError, match=says):
            detect(path)


def test_bombs_are_refused(packed, written, monkeypatch):
    with pytest.raises(CollectError, match="grows 400 times"):
        detect(packed({"user_data.json": b'{"Like List": ' + b" " * 30_000_000 + b"0}"}))
    monkeypatch.setattr(archive, "MAX_MEMBER", 100_000)
    path = written({"Like List": {"ItemFavoriteList": [tok(n) for n in range(5_000)]}}, "a.json")
    with pytest.raises(CollectError, match="is larger than"):
        list(open_source(path))


def test_over_the_limit(packed, monkeypatch):
    monkeypatch.setattr(listed, "MAX_ITEMS", 2)
    votes = "".join(f"a{n},{REDDIT}a{n}/x/,up\n" for n in (1, 1, 2, 3, 4))
    source = RedditExport(packed({"post_votes.csv": "id,permalink,direction\n" + votes}))
    assert len(read(source)) == 2
    assert source.report().skipped == {"duplicate": 1, "over the limit of 2 items": 2}


@pytest.mark.parametrize(
    ("source", "name", "content", "says"),
    [
        (RedditExport, "notes.csv", "a\n", "none of Reddit's lists"),
        (RedditExport, "post_votes.csv", "id,permalink,direction\n", "ask Reddit for all your data"),
        (RedditExport, "post_votes.csv", VOTES.replace(",up", ",none"), "1 of its 1 rows: vote taken back"),
        (TikTokExport, "a.json", "[]", "no likes"),
        (InstagramExport, "a.json", "{}", "no liked or saved post"),
        (XExport, "like.js", "window.YTD.like.part0 = []", "no like"),
    ],
)
def test_a_source_that_gives_nothing_says_what_to_do(packed, source, name, content, says):
    path = packed({name: content})
    with pytest.raises(CollectError, match=says) as caught:
        list(source(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("written_as", "at"),
    [
        ("2026-01-14 12:00:00", NOON),
        ("2026-01-14 12:00:00 UTC", NOON),
        ("2026-01-14T12:00:00", NOON),
        ("2026-01-14T12:00:00.000Z", NOON),
        ("2026-01-14T14:00:00+02:00", NOON),
        ("1768392000", NOON),
        ("1768392000.0", NOON),
        ("1768392000000", NOON),
        ("Wed Jan 14 12:00:00 +0000 2026", NOON),
        (" Wed Jan 14 13:00:00 +0100 2026 ", NOON),
        ("Wed Xyz 14 12:00:00 +0000 2026", None),
        ("Wed anF 14 12:00:00 +0000 2026", None),
        ("2026-02-30 12:00:00", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("9" * 5000, None),
        ("0", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates(written_as, at):
    assert parse_date(written_as) == at


def test_only_a_bounded_part_of_unknown_json_is_looked_at(packed, monkeypatch):
    monkeypatch.setattr("collectors.detect.MAX_EVENTS", 100)
    path = packed({"big.json": [{"a": n} for n in range(1000)] + [{"Like List": 1}]})
    with pytest.raises(CollectError, match="and no likes"):
        detect(path)
    assert json_events.MAX_DEPTH < 1000  # far below where Python itself gives up


def test_nothing_is_unpacked(packed, tmp_path):
    path = packed({"user_data.json": LAYOUTS["2026"]})
    before = sorted(p.as_posix() for p in Path(tmp_path).rglob("*"))
    read(open_source(path))
    assert sorted(p.as_posix() for p in Path(tmp_path).rglob("*")) == before
