"""The page over HTTP, as a client sees it: blind before the vote, closed to forgery, deaf to nonsense."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.benchmarks import crash
from studies.benchmarks.app_process import AppProcess
from studies.store import Store
from tests.names import names_in


@pytest.fixture(scope="module")
def app(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    data = tmp_path_factory.mktemp("data")
    unrated = "\n".join(f"A person wrote joke number {n} about ducks and doors." for n in range(30))
    (data / "import.csv").write_text(f"text\n{unrated}\n")
    running = AppProcess(data, "--model", str(tiny_folder), "--import", str(data / "import.csv"))
    running.data_dir = data
    yield running
    running.end()
    assert "could not be written" not in running.said()


@pytest.fixture(autouse=True)
def newcomer(app: AppProcess) -> None:
    app.visitor()


def get(app: AppProcess, path: str) -> str:
    return app._opener.open(f"{app.url}{path}").read().decode()


def stored(app: AppProcess) -> list[dict[str, object]]:
    return Store(app.data_dir).db.rows("select * from vote")


def texts(pair: list) -> list[str]:
    return [re.sub("<[^>]+>", "", text) for text in pair[1:3]]


def test_nothing_names_an_arm_before_the_vote(app: AppProcess) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        assert names_in(get(app, path)) == []
    card = app.call("next_card")
    assert names_in(json.dumps(card), *texts(["", card[1], ""])) == []
    for _ in range(4):
        pair = app.call("next_pair")
        assert names_in(json.dumps(pair), *texts(pair)) == []
        revealed = app.call("vote", pair[0], "both", [], [])
        assert len(names_in(revealed[0])) >= 2, (
            "after the vote both sides are named, so the search above can find names"
        )


def test_pages_that_tell_too_much_are_closed(app: AppProcess) -> None:
    for path in ("/gradio_api/runs", "/monitoring/summary", "/monitoring"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(app, path)
        assert refused.value.code in (403, 404)


def test_only_the_four_verbs_and_the_cards_are_offered(app: AppProcess) -> None:
    offered = json.loads(get(app, "/gradio_api/info"))["named_endpoints"]
    assert set(offered) == {"/next_pair", "/vote", "/react", "/undo", "/next_card"}


def test_the_pair_comes_whole_and_has_three_fields(app: AppProcess) -> None:
    pair = app.call("next_pair")
    assert re.fullmatch("[0-9a-f]{32}", pair[0])
    assert len(pair) == 3
    assert all(len(text) > 3 for text in pair[1:])
    assert app.call("next_pair")[:3] == pair[:3], "a reload shows the same pair"


def test_a_vote_counts_once_and_only_from_whom_it_was_shown_to(app: AppProcess) -> None:
    pair = app.call("next_pair")[0]
    before = len(stored(app))
    app.visitor()
    with pytest.raises(RuntimeError, match="was not shown to you"):
        app.call("vote", pair, "left", [], [])
    assert len(stored(app)) == before
    mine = app.call("next_pair")[0]
    assert mine != pair
    app.call("vote", mine, "right", ["sounds_ai"], [])
    with pytest.raises(RuntimeError, match="voted on this one already"):
        app.call("vote", mine, "left", [], [])
    assert [v["choice"] for v in stored(app) if v["trial_id"] == mine] == ["right"]
    assert len(stored(app)) == before + 1


def test_undo_withdraws_and_names_but_asks_no_more(app: AppProcess) -> None:
    pair = app.call("next_pair")[0]
    app.call("vote", pair, "left", [], [])
    counted = len(Store(app.data_dir).ballots())
    assert "Withdrawn" in app.call("undo")[0]
    assert len(Store(app.data_dir).ballots()) == counted - 1
    assert app.call("next_pair")[0] != pair
    with pytest.raises(RuntimeError, match="nothing to undo"):
        app.call("undo")


@pytest.mark.parametrize(
    "nonsense",
    [
        ("", "left", [], []),
        ("' or 1=1 --", "left", [], []),
        ("0" * 32, "left", [], []),
        ("x" * 100_000, "left", [], []),
        (None, None, None, None),
        ({"id": 1}, ["left"], {}, 7),
        ("<script>alert(1)</script>", "left", ["sounds_ai"], ["offensive"]),
        ("0" * 32, "left", ["no such mark"], []),
    ],
)
def test_nonsense_is_refused_and_stores_nothing(app: AppProcess, nonsense: tuple) -> None:
    app.call("next_pair")
    before = len(stored(app))
    with pytest.raises(RuntimeError):
        app.call("vote", *nonsense)
    assert len(stored(app)) == before


@pytest.mark.parametrize("choice", ["like", "LEFT", "", "left'", None])
def test_a_choice_that_is_none(app: AppProcess, choice: str | None) -> None:
    pair = app.call("next_pair")[0]
    before = len(stored(app))
    with pytest.raises(RuntimeError):
        app.call("vote", pair, choice, [], [])
    assert len(stored(app)) == before
    app.call("vote", pair, "skip", [], [])


def test_a_card_is_reacted_to_once(app: AppProcess) -> None:
    card = app.call("next_card")[0]
    following, _, note = app.call("react", card, "like")
    assert following != card
    assert "That one was" in note
    with pytest.raises(RuntimeError, match="already"):
        app.call("react", card, "dislike")
    with pytest.raises(RuntimeError, match="no choice here"):
        app.call("react", following, "left")


def test_a_page_without_a_cookie_gets_one_that_scripts_cannot_read(app: AppProcess) -> None:
    with urllib.request.urlopen(app.url) as reply:
        cookie = reply.headers["Set-Cookie"]
    assert re.match(r"palate_visitor=[0-9a-f]{32}; .*HttpOnly; SameSite=Lax", cookie)


def test_a_vote_outlives_kill_9(tiny_folder: Path) -> None:
    found = crash.run(1, "--model", str(tiny_folder))
    assert found == {
        "kills": 1, "starts": 2, "lost": 0, "doubled": 0, "not_acknowledged": 0, "marks_lost": 0, "integrity": "ok"
    }  # fmt: skip
