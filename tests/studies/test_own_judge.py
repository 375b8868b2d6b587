"""Models beside the person: the same pairs in both orders, kept, asked once; nothing that was not judged is touched."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.methods import ARMS, Ask
from engine.profile import Profile
from engine.recommend.local_judge import LocalJudge
from studies.own_judge import LEAST, Judging, Session, without
from studies.pairs import FLOOR, title
from studies.records import records
from studies.register import Register
from studies.session import REPEAT_AFTER, REPEAT_EVERY, Studio
from studies.store import ME, Candidate, Refused, Store, Trial, new_id
from tests.conftest import LIKES
from tests.studies.test_judge import CATS, CODE

FIRST, SECOND = FLOOR[0], next(arm for arm in ARMS if arm.startswith("history"))
ASK = Ask(payload="cats")


def text(arm: str, words: str) -> Candidate:
    return Candidate(new_id(), arm, words, tokens=9)


def pair(studio: Studio, n: int, choice: str = "") -> str:
    """A pair of the play, the cat on the left; judged where there is a choice."""
    cat, code = f"{CATS[n % 4]} ({n})", f"{CODE[n % 4]} ({n})"
    trial = Trial(new_id(), ME, "pair", text(FIRST, cat), text(SECOND, code), ASK, "", "", schedule="s", position=n)
    studio.store.write(trial, seed=0, arms=(FIRST, SECOND))
    if choice:
        studio.store.show(trial.id, "a")
        studio.vote("a", trial.id, choice)
    return trial.id


@pytest.fixture
def studio(tmp_path: Path, tiny: Backbone) -> Studio:
    """Somebody who likes cats and judged twelve pairs, four of them for the code; one more pair waits unseen."""
    studio = Studio(Store(tmp_path), tiny)  # its worker is not started: nobody else writes
    studio.enter("a")
    liked = [Item("test", str(n), "joke", words) for n, words in enumerate(CATS)]
    studio.store.add(ME, [(item, Signal(item.id, 1)) for item in liked])
    studio.worker.read()
    for n in range(12):
        pair(studio, n, "right" if n % 3 == 0 else "left")
    return studio


def through(studio: Studio) -> Judging:
    *_, last = studio.judging.judge("a")
    return last


def row(told: Session, name: str) -> object:
    [found] = [judge for judge in told.judges if name in judge.name]
    return found


def test_all_three_judge_what_was_judged_and_nothing_else(studio: Studio) -> None:
    unseen = pair(studio, 99)
    before = studio.judging.session("a")
    assert (before.pairs, before.waiting, before.judges, before.apart) == (12, 12, (), ())
    last = through(studio)
    assert (last.done, last.of, last.ended) == (36, 36, "every pair is judged")
    told = studio.judging.session("a")
    assert told.waiting == 0
    assert [judge.pairs for judge in told.judges] == [12, 12, 12]
    taste = row(told, "nearness")
    assert taste.agreement.accuracy.value == pytest.approx(8 / 12)  # it always says the cats
    assert taste.agreement.accuracy.n == 12
    kept = studio.store.db.rows("select trial_id from verdict")
    assert unseen not in {one["trial_id"] for one in kept}
    assert studio.store.db.rows("select shown_at from trial where id = :id", id=unseen) == [{"shown_at": None}]


def test_verdicts_are_those_of_the_command_and_nothing_is_asked_twice(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = LocalJudge.prefers

    def counted(self: LocalJudge, pairs: Sequence[tuple[str, str]], profile: Profile | None = None) -> list[float]:
        asked.append(len(pairs))
        return real(self, pairs, profile)

    monkeypatch.setattr(LocalJudge, "prefers", counted)
    through(studio)
    assert sum(asked) == 2 * 2 * 12
    assert max(asked) == 8, "few pairs a turn: whoever waits for a pair does not wait for all"
    ballots = records(studio.store, None).played
    odds = real(LocalJudge(studio.lm), [(b.left_text, b.right_text) for b in ballots])
    said = Register(studio.store).odds(studio.lm.name)
    assert sorted(first for first, _ in said) == pytest.approx(sorted(odds), abs=1e-3)
    asked.clear()
    assert through(studio).of == 0
    pair(studio, 12, "left")
    assert through(studio).of == 3
    assert sum(asked) == 4


def test_a_lean_to_a_place_is_no_verdict(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalJudge, "prefers", lambda self, pairs, profile=None: [2.0] * len(pairs))
    through(studio)
    told = row(studio.judging.session("a"), "not knowing")
    assert told.ties == 1.0
    assert told.agreement.accuracy is None


def test_it_stops_keeps_what_was_judged_and_goes_on(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalJudge.prefers

    def stopping(self: LocalJudge, pairs: Sequence[tuple[str, str]], profile: Profile | None = None) -> list[float]:
        studio.judging.stop()
        return real(self, pairs, profile)

    with monkeypatch.context() as once:
        once.setattr(LocalJudge, "prefers", stopping)
        last = through(studio)
    assert (last.done, last.ended) == (4, "stopped: what was judged is kept")
    assert studio.judging.session("a").waiting == 12
    last = through(studio)
    assert (last.of, last.ended) == (32, "every pair is judged")


def test_it_waits_for_its_turn_and_writing_goes_first(studio: Studio) -> None:
    with studio.worker.turns.turn("somebody who writes"):
        coming = studio.judging.judge("a")
        assert next(coming).done == 0
        assert studio.judging.busy()
        with pytest.raises(Refused, match="under way"):
            studio.own.delete_me("a")
        again = studio.judging.judge("a")  # another page follows the same
        assert next(again).of == 36
    assert [*coming][-1].ended == [*again][-1].ended == "every pair is judged"


def test_under_ten_pairs_it_says_what_to_do(tmp_path: Path, tiny: Backbone) -> None:
    studio = Studio(Store(tmp_path), tiny)
    studio.enter("a")
    for n in range(LEAST - 1):
        pair(studio, n, "left")
    pair(studio, LEAST, "skip")
    with pytest.raises(Refused, match="judge 1 more pair"):
        next(studio.judging.judge("a"))
    assert not studio.judging.busy()
    pair(studio, LEAST + 1, "both")
    through(studio)
    told = studio.judging.session("a")
    assert [judge.name for judge in told.judges] == ["the model, not knowing you"], "of nobody no taste is known"
    assert told.waiting == 0


def test_where_they_differ_both_are_named_but_not_what_will_be_asked_again(studio: Studio) -> None:
    through(studio)
    told = studio.judging.session("a")
    assert told.held == REPEAT_EVERY - REPEAT_AFTER
    cats = ("nearness to your likes", "left")
    mine = {pair.left_text for pair in told.apart if cats in pair.judged and pair.said == "right"}
    coming = {b.trial for b in records(studio.store, None).played} & set(studio._coming_again())
    against = [b for b in records(studio.store, None).played if b.choice == "right" and b.trial not in coming]
    assert mine == {b.left_text for b in against}
    assert against
    assert {pair.left_title for pair in told.apart} == {title(FIRST)}
    again = studio.pair_now("a")
    assert again.left_text not in {pair.right_text for pair in told.apart}, "its sides are swapped"
    studio.vote("a", again.id, "right")
    assert studio.judging.session("a").own.same.n == 1


def test_a_judged_text_that_teaches_tells_no_judge_how_it_was_judged(studio: Studio, profile: Profile) -> None:
    [first, *_] = records(studio.store, None).played
    taught = Item("palate", "1", "joke", first.right_text, maker="model")
    knows = replace(
        profile,
        items=(*profile.items, taught),
        signals=(*profile.signals, Signal(taught.id, 1)),
        vectors=profile.vectors[[*range(len(profile.items)), 0]],
    )
    told = without(knows, [first])
    assert first.right_text not in {item.text for item in told.items}
    assert told.summary == ""
    assert [item.text for item in told.liked] == list(LIKES)
    assert without(profile, [first]) is profile


def test_a_model_that_fails_is_told_in_words(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(LocalJudge, "prefers", lambda *_: 1 / 0)
        with pytest.raises(Refused, match="could not be judged"):
            through(studio)
    assert not studio.judging.busy()
    assert through(studio).ended == "every pair is judged"
