"""A study's file is checked as it is typed, and rehearsed by raters of planted taste through the real verbs."""

from pathlib import Path

import pytest

from studies import workshop
from studies.store import Refused
from studies.studyfile import read
from studies.workshop import EXAMPLES, MOST_RATERS, Rehearsal, Workshop

PAIRS, FEED, JUDGE = ((EXAMPLES / f"{name}.toml").read_text() for name in ("pairs", "feed", "judge"))


@pytest.fixture
def shop() -> Workshop:
    return Workshop()


def test_every_example_can_be_run_as_it_stands(shop: Workshop) -> None:
    examples = shop.examples()
    assert {text for _, text in examples} == {PAIRS, FEED, JUDGE}
    for title, text in examples:
        told = shop.look(text)
        assert (told.wrong, told.line) == ("", 0)
        assert title in told.lines[0]
        assert any("minutes" in line for line in told.lines)
    assert [shop.look(text).pool for text in (PAIRS, JUDGE)] == [False, True]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("blocks = 2", "blocks = two", "blocks = 2", "no TOML"),
        ("seed = 20261125", "sede = 20261125", "seed = ", "'sede' is not known"),
        ('"none", "history"', '"none", "nonsense"', "methods =", "is no way of writing"),
        ('completed = "PALATE-DONE"', "", "[completion]", "code of those who finish is missing"),
        ('source = "likes" ', 'source = "assigned"', "source =", "belong together"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(shop: Workshop, old: str, new: str, line: str, said: str) -> None:
    lines = PAIRS.split("\n")
    told = shop.look(PAIRS.replace(old, new))
    assert said in told.wrong
    assert lines[told.line - 1].startswith(line)
    assert "/tmp" not in told.wrong, "the copy's folder tells nobody anything"
    assert told.lines == ()


@pytest.mark.parametrize("much", ["blocks = 999999999", "blocks = 2\nsame = 99999"])
def test_a_study_that_nobody_could_do_is_refused_at_once(shop: Workshop, much: str) -> None:
    assert "more than anybody does" in shop.look(PAIRS.replace("blocks = 2", much).replace("\nsame = 1 ", "\n#")).wrong
    assert "are enough" in shop.look("#" * 200_000).wrong
    assert shop.look("").wrong


def test_a_dry_run_finds_what_was_planted(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "BEST", 9.0)
    *going, last = shop.rehearse(PAIRS, 3)
    assert [now.raters for now in going] == [0, 1, 2]
    assert all(not now.ended for now in going)
    assert (last.raters, last.of, last.ended) == (3, 3, "done")
    planned = read(EXAMPLES / "pairs.toml").design
    assert len(last.pairs) == len(planned.arms)
    assert [row.planted for row in last.pairs] == sorted((row.planted for row in last.pairs), reverse=True)
    assert all(row.low <= row.value <= row.high for row in last.pairs)
    assert last.caught == (3, 3)
    assert last.minutes >= 1
    assert last.alone == ()


def test_single_texts_and_posts_by_people_are_rehearsed_too(shop: Workshop) -> None:
    *_, told = shop.rehearse(JUDGE, 2)
    assert told.votes == 2 * 20
    assert told.alone
    assert told.pairs
    *_, told = shop.rehearse(FEED, 1)
    assert told.votes
    assert told.caught[0] == told.caught[1]


def test_it_can_be_stopped_and_one_goes_at_a_time(shop: Workshop) -> None:
    coming = shop.rehearse(PAIRS, MOST_RATERS)
    next(coming)
    next(coming)
    with pytest.raises(Refused, match="under way"):
        next(shop.rehearse(PAIRS, 1))
    shop.stop()
    last: Rehearsal = [*coming][-1]
    assert (last.ended, last.raters) == ("stopped", 1)
    assert last.votes
    with pytest.raises(Refused, match="no TOML"):
        next(shop.rehearse("what", 1))
    assert [*shop.rehearse(PAIRS, 1)][-1].ended == "done"


def test_nothing_is_left_behind(shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    coming = shop.rehearse(PAIRS, 2)
    next(coming)
    coming.close()
    shop.look(PAIRS)
    assert [*tmp_path.iterdir()] == []
