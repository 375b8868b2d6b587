"""The benchmark of scorers on made-up people: who is told what, and that a taste is found."""

import json
from pathlib import Path

import numpy as np
import pytest

from studies.benchmarks import scorers
from studies.benchmarks.runs import CannotRun, run
from studies.benchmarks.scorers import Settings, crowd
from tests.jester_set import jester_set

PEOPLE, JOKES = 60, 50


@pytest.fixture(scope="module")
def jester(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jester_set(tmp_path_factory.mktemp("jester"), PEOPLE, JOKES)


def test_nobody_who_teaches_rated_a_new_joke_and_nothing_is_told_that_is_asked(jester: Path) -> None:
    who = crowd(Settings(jester, limit=10, people=50), 0)
    assert (len(who.teach), len(who.stop), len(who.told)) == (40, 10, 10)
    new = {text for text, is_new in zip(who.jokes.texts, who.new, strict=True) if is_new}
    assert len(new) == JOKES // 5
    for one in (*who.teach, *who.stop, *who.told):
        assert not new & {item.text for item in one.items}
    for one, ratings in zip(who.told, who.asked, strict=True):
        asked = {who.jokes.texts[n] for n in np.flatnonzero(~np.isnan(ratings))}
        assert not asked & {item.text for item in one.items}
        assert len(asked) + len(one.items) == JOKES
    assert not {one.user for one in who.teach} & {one.user for one in who.stop}


def test_all_scorers_find_a_taste_and_the_wrong_person_has_none(
    jester: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    settings = Settings(jester, limit=20, people=40, seeds=1, steps=40, model=str(tiny_folder))
    *_, found = run(scorers, settings, tmp_path)
    assert not isinstance(found, str)
    assert not found["failed"]
    rows = {row["method"]: row for row in json.loads(json.dumps(found))["rows"]}
    assert set(rows) == {"random", "popularity"} | {
        f"{name}{wrong}"
        for name in ("nearness", "topics", "item_lm", "ctr", "judge")
        for wrong in ("", ", wrong person")
    }
    for name in ("nearness", "topics", "ctr"):
        assert rows[name]["unseen"] > 0.7, name  # of two about the same thing the noise decides: .75 at best
        assert rows[name]["unseen"] > rows[f"{name}, wrong person"]["unseen"] + 0.1
    for name in ("random", "popularity"):
        assert rows[name]["unseen"] == pytest.approx(0.5, abs=0.1)
    assert rows["item_lm"]["rated"] > rows["item_lm, wrong person"]["rated"] + 0.1


def test_nobody_left_to_teach_is_said(jester: Path) -> None:
    with pytest.raises(CannotRun, match="nobody is left to teach"):
        list(run(scorers, Settings(jester, limit=100), jester / "work"))
