"""Real PRAW against a stand-in for Reddit on this machine."""

import base64
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import prawcore
import pytest

from collectors.item import CollectError, Item, Signal
from collectors.pseudonym import pseudonym
from collectors.reddit_access import LASTS, SignIn, praw_and_core
from collectors.reddit_api import RedditApi
from tests.collectors.stand_in import as_json, standing_in

BACK = "http://127.0.0.1:7860/reddit"
PAGE = 2  # things that the stand-in gives at once
ME = "/user/ann/"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """prawcore sleeps some seconds before it tries again."""
    monkeypatch.setattr(prawcore.sessions, "time", SimpleNamespace(sleep=lambda _: None, monotonic=time.monotonic))


def post(n, **changes):
    data = {
        "id": f"p{n}",
        "name": f"t3_p{n}",
        "title": f"Post {n}",
        "selftext": "",
        "author": "bob",
        "subreddit": "jokes",
        "permalink": f"/r/jokes/comments/p{n}/post/",
        "created_utc": 1700000000.0 + n,
        "over_18": False,
        "removed_by_category": None,
    }
    return {"kind": "t3", "data": data | changes}


def comment(n, **changes):
    data = {
        "id": f"c{n}",
        "name": f"t1_c{n}",
        "body": f"Comment {n}",
        "author": "eve",
        "subreddit": "jokes",
        "link_id": "t3_p1",
        "parent_id": "t3_p1",
        "permalink": f"/r/jokes/comments/p1/post/c{n}/",
        "created_utc": 1700000000.0,
    }
    return {"kind": "t1", "data": data | changes}


def community(name):
    return {"kind": "t5", "data": {"id": name, "name": f"t5_{name}", "display_name": name, "url": f"/r/{name}/"}}


class Reddit:
    """`lists` by path; `instead` answers first, by path, once for each that stands there."""

    def __init__(self, **lists):
        self.lists = {ME + name: things for name, things in lists.items()}
        self.instead = {}
        self.tokens = []
        self.asked = []
        self.refresh_token = None

    def __call__(self, method, path, query, headers, body):
        path = path.rstrip("/")  # PRAW ends some with a slash
        if self.instead.get(path):
            return self.instead[path].pop(0)
        if path == "/api/v1/access_token":
            self.tokens.append((headers, parse_qs(body.decode())))
            granted = {"access_token": "secret-access", "expires_in": 3600, "scope": "identity history read"}
            return as_json(granted | ({"refresh_token": self.refresh_token} if self.refresh_token else {}))
        assert method == "GET"
        assert headers["authorization"] == "bearer secret-access"
        assert headers["user-agent"].startswith("python:palate:v0.1.0 (personal likes import)")
        assert query["raw_json"] == ["1"]
        self.asked.append((path, query))
        if path == "/api/v1/me":
            return as_json({"id": "1", "name": "ann"})
        things = self.lists.get(path, [])
        start = int(query.get("after", ["0"])[0])
        after = str(start + PAGE) if start + PAGE < len(things) else None
        children = things[start : start + PAGE]
        return as_json({"kind": "Listing", "data": {"children": children, "after": after, "before": None}})


def signing(service, **settings):
    return SignIn(endpoints=(service.url, service.url), **settings)


def signed_in(service, remember=None, **settings):
    sign_in = signing(service, **settings)
    url = sign_in.begin("an-id", "a-secret", BACK, "session-1", remember)
    return sign_in.finish("session-1", state_of(url), "a-code")


def state_of(url):
    return parse_qs(urlsplit(url).query)["state"][0]


def collected(reddit, **settings):
    with standing_in(reddit) as service:
        collector = RedditApi(signed_in(service), **settings)
        return list(collector), collector


def broken(reddit, seconds=5.0, **settings):
    """What came before the break, and the sentence about it."""
    got = []
    with standing_in(reddit) as service:
        collector = RedditApi(signed_in(service, seconds=seconds), **settings)
        with pytest.raises(CollectError) as failed:
            got += collector  # a list takes what comes before the error
    return got, str(failed.value)


# --- sign-in


def test_the_way_there_and_back():
    reddit = Reddit()
    with standing_in(reddit) as service:
        sign_in = signing(service)
        url = sign_in.begin("an-id", "a-secret", BACK, "session-1")
        sign_in.finish("session-1", state_of(url), "a-code")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{service.url}/api/v1/authorize?")
    assert len(asked.pop("state")) >= 43  # 32 random bytes
    assert asked == {
        "client_id": "an-id",
        "duration": "temporary",
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "identity history read mysubreddits",
    }
    headers, told = reddit.tokens[0]
    assert told == {"code": ["a-code"], "grant_type": ["authorization_code"], "redirect_uri": [BACK]}
    assert headers["authorization"] == f"Basic {base64.b64encode(b'an-id:a-secret').decode()}"


def test_access_lasts_only_when_asked_and_then_comes_back():
    reddit, kept = Reddit(saved=[post(1)]), []
    reddit.refresh_token = "lasting"
    with standing_in(reddit) as service:
        sign_in = signing(service)
        url = sign_in.begin("an-id", None, BACK, "session-1", remember=kept.append)
        sign_in.finish("session-1", state_of(url), "a-code")
        assert "duration=permanent" in url
        assert kept == ["lasting"]
        again = sign_in.resume("an-id", None, "lasting")
        assert len(list(RedditApi(again, ["saved"]))) == 1
    assert reddit.tokens[1][1] == {"grant_type": ["refresh_token"], "refresh_token": ["lasting"]}


def test_a_state_is_used_once_in_its_session_and_in_time():
    now = [0.0]
    with standing_in(Reddit()) as service:
        sign_in = signing(service, clock=lambda: now[0])
        states = [state_of(sign_in.begin("an-id", "s", BACK, session)) for session in ("one", "two", "three")]
        assert len(set(states)) == 3
        for session, state in (("one", states[1]), ("nobody", states[0]), ("one", ""), ("one", "\udc80é")):
            with pytest.raises(CollectError, match="does not belong"):
                sign_in.finish(session, state, "a-code")
        sign_in.finish("one", states[0], "a-code")
        with pytest.raises(CollectError, match="does not belong"):
            sign_in.finish("one", states[0], "a-code")
        with pytest.raises(CollectError, match="no permission"):
            sign_in.finish("three", states[2], "")
        now[0] = LASTS
        with pytest.raises(CollectError, match="more than 10 minutes"):
            sign_in.finish("two", states[1], "a-code")
        assert service.count("/api/v1/access_token") == 1


def test_two_answers_at_once_sign_in_once():
    with standing_in(Reddit()) as service:
        sign_in = signing(service)
        state, done = state_of(sign_in.begin("an-id", "s", BACK, "one")), []

        def finish():
            try:
                done.append(sign_in.finish("one", state, "a-code"))
            except CollectError as error:
                done.append(error)

        threads = [threading.Thread(target=finish) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(isinstance(result, CollectError) for result in done) == 7


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_json({"error": "invalid_grant"}), "did not accept the code"),
        (as_json({"error": 400}, 400), "did not accept the code"),
        (as_json({"message": "Unauthorized", "error": 401}, 401), "check its id and secret"),
        (as_json({}, 503), "has a fault"),
        (as_json({}, 429, {"Retry-After": "50"}), "in 50 seconds"),
        (as_json({"access_token": "x"}), "cannot be read"),
        ("cut", "broke off"),
        ("hang", "cannot be reached"),
    ],
)
def test_a_sign_in_that_reddit_refuses(answer, said):
    reddit = Reddit()
    reddit.instead["/api/v1/access_token"] = [answer]
    with standing_in(reddit) as service, pytest.raises(CollectError, match=said):
        signed_in(service, seconds=0.3 if answer == "hang" else 20)


def test_neither_files_nor_the_environment_choose_the_settings(tmp_path, monkeypatch):
    planted = "[DEFAULT]\noauth_url=http://127.0.0.1:9\nreddit_url=http://127.0.0.1:9\nrefresh_token=planted\n"
    (tmp_path / "praw.ini").write_text(planted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(praw_and_core()[0].config.Config, "CONFIG", None)
    monkeypatch.setenv("praw_site", "missing")
    monkeypatch.setenv("praw_refresh_token", "planted")
    with standing_in(Reddit(saved=[post(1)])) as service:
        with pytest.warns(UserWarning, match="overrides"):
            reddit = signed_in(service)
        assert len(list(RedditApi(reddit, ["saved"]))) == 1
        assert not reddit.config.refresh_token
        assert not reddit.config.check_for_updates
    assert SignIn()._connected("an-id", None).config.oauth_url == "https://oauth.reddit.com"


def test_an_app_without_an_id():
    with pytest.raises(CollectError, match="id of your app"):
        SignIn().begin(" ", None, BACK, "one")


# --- lists


def test_all_lists_over_their_pages():
    reddit = Reddit(
        upvoted=[post(n) for n in range(5)],
        downvoted=[post(7, author="[deleted]")],
        saved=[post(8, selftext="A &amp; B", over_18=True), comment(1)],
        hidden=[post(9)],
    )
    got, collector = collected(reddit)
    assert [item.source_id for item, _ in got] == [
        *(f"t3_p{n}" for n in range(5)),
        *("t3_p7", "t3_p8", "t1_c1", "t3_p9"),
    ]
    assert got[0] == (
        Item(
            "reddit",
            "t3_p0",
            "post",
            "Post 0",
            "jokes",
            pseudonym("reddit", "bob"),
            created_at=datetime.fromtimestamp(1700000000, UTC),
            url="https://www.reddit.com/r/jokes/comments/p0/post/",
        ),
        Signal("reddit:t3_p0", 1, origin="reddit:post_votes"),
    )
    shown = [(s.sign, s.strength, s.origin) for _, s in got[5:]]
    assert shown == [
        (-1, 1.0, "reddit:post_votes"),
        (1, 1.0, "reddit:saved_posts"),
        (1, 1.0, "reddit:saved_comments"),
        (0, 0.3, "reddit:hidden_posts"),
    ]
    assert got[5][0].author_hash == ""
    assert got[6][0].text == "Post 8\n\nA & B"
    assert (got[7][0].kind, got[7][0].text) == ("comment", "Comment 1")
    report = collector.report()
    assert report.lists == {"upvoted": 5, "downvoted": 1, "saved": 2, "hidden": 1}
    assert (report.likes, report.dislikes, report.unrated, report.found) == (7, 1, 1, 9)
    # Who it is, three pages of one list, one of each other; and nothing item by item.
    assert [path for path, _ in reddit.asked] == [
        "/api/v1/me",
        *[ME + "upvoted"] * 3,
        *(ME + name for name in ("downvoted", "saved", "hidden")),
    ]


def test_the_limit_bounds_the_requests():
    reddit = Reddit(saved=[post(n) for n in range(9)])
    got, _ = collected(reddit, lists=["saved"], limit=3)
    assert len(got) == 3
    assert len(reddit.asked) == 3  # who, and two pages


def test_what_is_deleted_or_odd_is_counted():
    things = [
        post(1, selftext="[deleted]"),
        post(2, removed_by_category="moderator"),
        comment(1, body="[removed]"),
        community("jokes"),
        post(3),
        post(3),
    ]
    got, collector = collected(Reddit(saved=things), lists=["saved"])
    assert [item.source_id for item, _ in got] == ["t3_p3"]
    assert collector.report().skipped == {"deleted": 3, "neither a post nor a comment": 1, "duplicate": 1}
    assert collector.report().found == 6


def test_a_list_of_unknown_name():
    with pytest.raises(CollectError, match="gilded is no list"):
        RedditApi(None, ["saved", "gilded"])


def test_candidates_of_the_communities():
    reddit = Reddit(saved=[post(1)])
    reddit.lists |= {
        "/subreddits/mine/subscriber": [community("jokes"), community("shut"), community("puns")],
        "/r/jokes/hot": [post(2), post(3), post(4)],
        "/r/jokes/top": [post(2)],
        "/r/puns/hot": [post(5)],
    }
    reddit.instead["/r/shut/hot"] = [as_json({"reason": "private"}, 403)]
    got, collector = collected(reddit, lists=["saved"], candidates=2)
    assert [(item.source_id, signal and signal.sign) for item, signal in got] == [
        ("t3_p1", 1),
        ("t3_p2", None),
        ("t3_p3", None),
        ("t3_p2", None),
        ("t3_p5", None),
    ]
    assert collector.report().lists == {"saved": 1, "hot": 3, "top": 1}
    assert collector.notes == ("r/shut is closed",)
    top = next(query for path, query in reddit.asked if path == "/r/jokes/top")
    assert (top["t"], top["limit"]) == (["month"], ["2"])


def test_no_more_than_twenty_communities():
    reddit = Reddit()
    reddit.lists["/subreddits/mine/subscriber"] = [community(f"c{n}") for n in range(30)]
    collected(reddit, lists=[], candidates=1)
    assert len({path for path, _ in reddit.asked if path.endswith("/hot")}) == 20


# --- what goes wrong


def test_a_closed_list_is_left_out():
    reddit = Reddit(saved=[post(1)])
    reddit.instead[ME + "upvoted"] = [as_json({"message": "Forbidden", "error": 403}, 403)]
    got, collector = collected(reddit, lists=["upvoted", "saved"])
    assert len(got) == 1
    assert collector.notes == ("the list upvoted is closed",)


def test_all_lists_closed():
    reddit = Reddit()
    reddit.instead = {ME + name: [as_json({}, 403)] for name in ("upvoted", "saved")}
    assert "none of these lists" in broken(reddit, lists=["upvoted", "saved"])[1]


def expired(status=401, said="invalid_token"):
    return as_json({}, status, {"WWW-Authenticate": f'Bearer realm="reddit", error="{said}"'})


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([expired()], "sign in again"),  # a temporary access: PRAW has nothing to renew it with
        ([as_json({}, 401)], "sign in again"),
        ([expired(403, "insufficient_scope")], "does not cover the history"),
        ([as_json({}, 503)] * 3, "status 503"),
        ([as_json({}, 500)] * 3, "status 500"),
        (["cut"] * 3, "broke off"),
        (["hang"] * 3, "cannot be reached"),
        ([as_json({}, 429, {"Retry-After": "31"})], "in 31 seconds"),
        ([as_json({}, 429, {"x-ratelimit-reset": "300"})], "in 300 seconds"),
        ([as_json({}, 429)], "in ten minutes"),
        ([as_json({}, 418)], "cannot be read"),
        ([(200, {}, b"<html>")], "cannot be read"),
        ([as_json([1, 2])], "cannot be read"),
        ([as_json({"kind": "Listing", "data": {"children": [{"kind": "t3", "data": {}}]}})], "cannot be read"),
    ],
)
def test_what_came_before_a_break_is_kept(answers, said):
    reddit = Reddit(upvoted=[post(1), post(2)])
    reddit.instead[ME + "saved"] = list(answers)
    began = time.monotonic()
    got, sentence = broken(reddit, seconds=0.3, lists=["upvoted", "saved"])
    assert time.monotonic() - began < 10  # three times PRAW's own time-out are 48 s
    assert len(got) == 2
    assert said in sentence
    assert "secret" not in sentence


def test_the_sentence_tells_how_much_came():
    reddit = Reddit(upvoted=[post(1)])
    reddit.instead[ME + "saved"] = [as_json({}, 503)] * 3
    assert broken(reddit, lists=["upvoted", "saved"])[1] == (
        "Reddit has a fault after 1 items (status 503): try again later."
    )


def test_a_break_that_passes_is_not_noticed():
    reddit = Reddit(saved=[post(1)])
    reddit.instead[ME + "saved"] = [as_json({}, 503), "cut"]
    assert len(collected(reddit, lists=["saved"])[0]) == 1


def test_a_lasting_access_that_was_revoked():
    reddit = Reddit()
    reddit.instead["/api/v1/access_token"] = [as_json({"error": "invalid_grant"}, 400)]
    with standing_in(reddit) as service, pytest.raises(CollectError, match="sign in again"):
        list(RedditApi(signing(service).resume("an-id", "a-secret", "old")))


def test_a_suspended_account():
    reddit = Reddit()
    reddit.instead["/api/v1/me"] = [as_json({}, 403)]
    assert "status 403" in broken(reddit)[1]


def test_a_short_wait_is_kept_once():
    busy = as_json({}, 429, {"Retry-After": "7"})
    reddit, slept = Reddit(saved=[post(n) for n in range(4)]), []
    reddit.instead[ME + "saved"] = [busy]
    got, _ = collected(reddit, lists=["saved"], sleep=slept.append)
    assert (len(got), slept) == (4, [7.0])
    reddit.instead[ME + "saved"] = [busy, busy]
    assert "in 7 seconds" in broken(reddit, lists=["saved"], sleep=slept.append)[1]
    assert slept == [7.0, 7.0]


def test_a_spent_budget_does_not_put_the_library_to_sleep(monkeypatch):
    slept = []
    monkeypatch.setattr(prawcore.rate_limit.time, "sleep", slept.append)
    spent = {"x-ratelimit-remaining": "0.0", "x-ratelimit-used": "1000", "x-ratelimit-reset": "540"}
    reddit = Reddit(saved=[post(1)])
    reddit.instead["/api/v1/me"] = [as_json({"id": "1", "name": "ann"}, headers=spent)]
    reddit.instead[ME + "saved"] = [as_json({}, 429, spent)]
    assert "in 540 seconds" in broken(reddit, lists=["saved"])[1]
    assert slept == []
