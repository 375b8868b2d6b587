"""Agreement: figures by hand and beside scikit-learn and scipy, intervals against simulated people."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import evalica
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from studies import ratings
from studies.agreement import (
    Interval,
    _alpha,
    _ordinal,
    agree,
    agree_alone,
    auc,
    between_marks,
    between_people,
    repeatability,
)
from studies.ratings import Ballot, Mark, standings, wilson

SWAP: dict[str, Any] = {"left": "right", "right": "left"}
SIDES = ("left", "right", "both", "neither")


def ballots(*choices: str, rater: str = "r", arms: tuple[str, str] = ("a", "b")) -> list[Ballot]:
    """One ballot a choice, on trials "0", "1", ... of one rater."""
    return [Ballot(rater, *arms, choice, trial=str(n)) for n, choice in enumerate(choices)]  # type: ignore[arg-type]


def made(
    raters: int, each: int, seed: int, chance: float = 0.7
) -> tuple[list[Ballot], dict[str, str], dict[str, float]]:
    """Votes on four arms, and a judge that says with this chance what the person said."""
    rng = np.random.default_rng(seed)
    votes, verdicts, scores = [], {}, {}
    for r in range(raters):
        for n in range(each):
            trial, (left, right) = f"{r}-{n}", rng.choice(list("abcd"), 2, replace=False)
            won = rng.random() < 1 / (1 + np.exp(ord(left) - ord(right)))
            said = str(rng.choice(["both", "neither"])) if rng.random() < 0.2 else "left" if won else "right"
            votes.append(Ballot(f"r{r}", str(left), str(right), said, trial=trial))  # type: ignore[arg-type]
            same = said if said in SWAP else "tie"
            verdicts[trial] = same if rng.random() < chance else str(rng.choice(["left", "right", "tie"]))
            scores[trial] = round({"left": 1.0, "right": -1.0, "tie": 0.0}[verdicts[trial]] + rng.normal(), 1)
    return votes, verdicts, scores


def tied(choice: str) -> str:
    return choice if choice in SWAP else "tie"


def facts(figures: Any) -> dict[str, tuple[float, float, float, int] | None]:
    found = {name: getattr(figures, name) for name in figures.__slots__}
    return {name: f and (f.value, f.low, f.high, f.n) for name, f in found.items()}


def value(interval: Interval | None) -> float:
    assert interval is not None
    assert interval.low - 1e-12 <= interval.value <= interval.high + 1e-12
    return interval.value


# ---- a judge beside people


def test_accuracy_and_kappa_by_hand() -> None:
    """Of 10: 5 equal sides, 2 unequal, one tie of both, a tie of each: seen 6 / 10.

    People say left 5, right 3, tie 2, the judge 4, 4, 2: chance (20 + 12 + 4) / 100, kappa (0.6 - 0.36) / 0.64.
    """
    people = ballots("left", "left", "left", "left", "left", "right", "right", "right", "both", "neither", "skip")
    judge = ["left", "left", "left", "right", "tie", "right", "right", "right", "tie", "left", "left"]
    found = agree(people, {str(n): said for n, said in enumerate(judge)})
    assert value(found.accuracy) == pytest.approx(6 / 7)
    assert found.accuracy is not None
    assert found.accuracy.n == 7
    assert value(found.kappa) == pytest.approx((0.7 - 0.36) / 0.64)
    assert found.kappa is not None
    assert found.kappa.n == 10
    assert found.rank is None  # two arms have no order to speak of
    assert found.auc is None


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_the_libraries(seed: int) -> None:
    votes, verdicts, scores = made(8, 30, seed)
    found = agree(votes, verdicts, scores)
    people, judge = [tied(vote.choice) for vote in votes], [verdicts[vote.trial] for vote in votes]
    assert value(found.kappa) == pytest.approx(cohen_kappa_score(people, judge))
    decided = [(p, j) for p, j in zip(people, judge, strict=True) if "tie" not in (p, j)]
    assert value(found.accuracy) == pytest.approx(np.mean([p == j for p, j in decided]))
    sides = [vote for vote in votes if vote.choice in SWAP]
    chosen = [scores[vote.trial] * (1 if vote.choice == "left" else -1) for vote in sides]
    truth = [1] * len(sides) + [0] * len(sides)
    assert value(found.auc) == pytest.approx(roc_auc_score(truth, chosen + [-score for score in chosen]))
    judged = [replace(v, choice={"tie": "both"}.get(verdicts[v.trial], verdicts[v.trial])) for v in votes]
    ours, theirs = ({row.arm: row.strength for row in standings(rows)} for rows in (votes, judged))
    assert value(found.rank) == pytest.approx(spearmanr([ours[a] for a in "abcd"], [theirs[a] for a in "abcd"])[0])


def test_auc_with_weights_is_the_librarys() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(0.5, 1, 40).round(1), rng.normal(0, 1, 30).round(1)  # rounded: some are equal
    weights = rng.integers(0, 4, 40).astype(float), rng.integers(0, 4, 30).astype(float)
    truth = [1] * 40 + [0] * 30
    both = np.concatenate([above, below])
    assert auc(above, below) == pytest.approx(roc_auc_score(truth, both))
    expected = roc_auc_score(truth, both, sample_weight=np.concatenate(weights))
    assert auc(above, below, weights) == pytest.approx(expected)
    assert np.isnan(auc(above, below[:0]))


def test_on_which_side_a_text_stood_changes_nothing() -> None:
    votes, verdicts, scores = made(6, 20, seed=1)
    rng = np.random.default_rng(2)
    others = []
    for vote in votes:
        if rng.random() < 0.5:
            others.append(vote)
            continue
        others.append(replace(vote, left=vote.right, right=vote.left, choice=SWAP.get(vote.choice, vote.choice)))
        verdicts = verdicts | {vote.trial: SWAP.get(verdicts[vote.trial], "tie")}
        scores = scores | {vote.trial: -scores[vote.trial]}
    before, after = facts(agree(votes, *made(6, 20, seed=1)[1:])), facts(agree(others, verdicts, scores))
    assert before["accuracy"] == pytest.approx(after["accuracy"])
    assert before["auc"] == pytest.approx(after["auc"])
    assert before["rank"] == pytest.approx(after["rank"], abs=1e-6)
    assert before["kappa"] == pytest.approx(after["kappa"], abs=0.05)  # the sides' shares are what chance is made of


def test_a_judge_that_is_always_right_or_always_wrong() -> None:
    votes, _, _ = made(10, 30, seed=3)
    truth = {vote.trial: tied(vote.choice) for vote in votes}
    signs = {"left": 2.0, "right": -2.0, "tie": 0.0}
    right = agree(votes, truth, {trial: signs[said] for trial, said in truth.items()})
    for figure in (right.accuracy, right.kappa, right.rank, right.auc):
        assert value(figure) == pytest.approx(1)
        assert figure is not None
        assert 0 < figure.low < 1  # ten people who never differ from it leave some doubt
    assert right.rank is not None
    assert right.rank.low == pytest.approx(2 * wilson(10, 10)[0] - 1)
    wrong = agree(votes, {trial: SWAP.get(said, said) for trial, said in truth.items()})
    assert value(wrong.accuracy) == 0
    assert value(wrong.rank) == pytest.approx(-1)
    assert value(wrong.kappa) < 0


def test_a_judge_that_always_says_the_same_tells_nothing() -> None:
    votes, _, _ = made(5, 20, seed=4)
    ties = agree(votes, {vote.trial: "tie" for vote in votes}, {vote.trial: 0.0 for vote in votes})
    assert ties.accuracy is None
    assert value(ties.kappa) == pytest.approx(0)
    assert ties.rank is None  # all its arms are equal
    assert value(ties.auc) == 0.5


def test_without_votes_or_verdicts_there_is_nothing_to_tell() -> None:
    votes, verdicts, _ = made(2, 5, seed=5)
    for found in (agree([], verdicts), agree(votes, {}), agree(ballots("skip"), {"0": "left"})):
        assert set(facts(found).values()) == {None}
    assert agree(votes, verdicts, {}).auc is None
    assert agree(ballots("left", "left"), {"0": "left", "1": "left"}).kappa is None  # chance explains it all


def hanging_together(raters: int, each: int, seed: int) -> tuple[list[Ballot], dict[str, str]]:
    """Raters who agree with a judge to degrees of their own: log-odds of 0.8 on average, with a spread of 0.8."""
    rng = np.random.default_rng(seed)
    votes, verdicts = [], {}
    for r in range(raters):
        chance = 1 / (1 + np.exp(-(0.8 + 0.8 * rng.standard_normal())))
        for n in range(each):
            said = "left" if rng.random() < 0.5 else "right"
            verdicts[f"{r}-{n}"] = said if rng.random() < chance else SWAP[said]
            votes.append(Ballot(f"r{r}", "a", "b", said, trial=f"{r}-{n}"))  # type: ignore[arg-type]
    return votes, verdicts


def test_votes_of_one_person_hang_together_so_intervals_are_wider() -> None:
    votes, verdicts = hanging_together(12, 60, seed=6)
    alone = [replace(vote, rater=vote.trial) for vote in votes]
    for name in ("accuracy", "kappa"):
        clustered, plain = getattr(agree(votes, verdicts), name), getattr(agree(alone, verdicts), name)
        assert clustered.value == plain.value
        assert clustered.high - clustered.low > 1.6 * (plain.high - plain.low)


def test_kappas_interval_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    true = 2 * float((weights / (1 + np.exp(-(0.8 + 0.8 * points)))).sum() / weights.sum()) - 1
    covered = 0
    for seed in range(200):
        kappa = agree(*hanging_together(25, 20, seed)).kappa
        assert kappa is not None
        covered += kappa.low <= true <= kappa.high
    assert 0.90 <= covered / 200 <= 0.985


def test_the_same_votes_give_the_same_figures() -> None:
    votes, verdicts, scores = made(4, 20, seed=7)
    assert agree(votes, verdicts, scores) == agree(list(votes), dict(verdicts), scores)
    assert agree(votes, verdicts, scores, seed=1) != agree(votes, verdicts, scores)


# ---- people beside themselves


def again(first: Sequence[Ballot], *choices: str) -> list[Ballot]:
    """The same trials once more, sides swapped, with what was chosen then."""
    return [
        Ballot(b.rater, b.right, b.left, choice, trial=f"again {b.trial}", repeats=b.trial)  # type: ignore[arg-type]
        for b, choice in zip(first, choices, strict=True)
    ]


def test_the_same_text_again_is_the_other_side() -> None:
    first = ballots("left", "left", "left", "right", "both", "neither", "left", "skip")
    later = again(first, "right", "right", "left", "left", "neither", "left", "skip", "left")
    lost = Ballot("r", "a", "b", "left", trial="x", repeats="of a trial that is not there")
    found = repeatability(first, [*later, lost])
    assert value(found.same) == pytest.approx(4 / 6)  # two lefts, the right, and both beside neither
    assert value(found.decided) == pytest.approx(3 / 4)
    then, now = ["left", "left", "left", "right", "tie", "tie"], ["left", "left", "right", "right", "tie", "right"]
    assert value(found.kappa) == pytest.approx(cohen_kappa_score(then, now))
    assert {f.n for f in (found.same, found.kappa) if f} == {6}
    assert set(facts(repeatability(first, [])).values()) == {None}


def test_who_always_takes_a_side_does_not_repeat_a_choice() -> None:
    first = ballots(*["left", "right"] * 10)
    found = repeatability(first, again(first, *["left", "right"] * 10))
    assert value(found.same) == 0
    assert value(found.kappa) == pytest.approx(-1)


# ---- people beside each other


def test_alpha_by_hand_with_the_sides_put_alike() -> None:
    """Five pairs, three raters. Codes (0, 0, 0), (1, 1, 1), (2, 2, 1), (0, 1, 1), (1, 1) of 4 zeros, 8 ones, 2 twos.

    Chance of unequal codes 1 - (4 * 3 + 8 * 7 + 2) / (14 * 13) = 8 / 13; seen: 2 of 6 ordered pairs are equal in the
    third and the fourth pair, so 3 * (4 / 6) * 2 / 14 = 2 / 7; alpha = 1 - (2 / 7) / (8 / 13) = 15 / 28.
    """
    said = {"p": "lll", "q": "rrr", "s": "ttr", "t": "lrr", "u": "rr-"}
    whole = {"l": "left", "r": "right", "t": "neither", "-": "skip"}
    items = {
        item: [Ballot(f"r{r}", "a", "b", whole[letter]) for r, letter in enumerate(letters)]  # type: ignore[arg-type]
        for item, letters in said.items()
    }
    found = between_people(items)
    assert value(found) == pytest.approx(15 / 28)
    assert found is not None
    assert found.n == 14
    shown_otherwise = {
        item: [rows[0], *(replace(b, left="b", right="a", choice=SWAP.get(b.choice, b.choice)) for b in rows[1:])]
        for item, rows in items.items()
    }
    assert between_people(shown_otherwise) == found
    twice = {item: [*rows, replace(rows[0], choice="left")] for item, rows in items.items()}
    assert between_people(twice) == found  # of a rater's votes on a pair the first counts
    texts = {
        item: [replace(b, left="x", right="x", left_text=b.left, right_text=b.right) for b in rows]
        for item, rows in shown_otherwise.items()
    }
    assert between_people(texts) == found  # where texts are known they say what is the same side


def test_nobody_to_compare_or_nothing_to_differ_in() -> None:
    assert between_people({}) is None
    assert between_people({"p": ballots("left", rater="x")}) is None
    assert between_people({"p": [Ballot("x", "a", "b", "left"), Ballot("y", "a", "b", "left")]}) is None


def crowd(items: int, raters: int, per: int, seed: int, clear: float = 1.5) -> dict[str, list[Ballot]]:
    """Pairs that are more or less clear, each judged by some of the raters, who lean to a side each."""
    rng = np.random.default_rng(seed)
    leans = 0.7 * rng.standard_normal(raters)
    found = {}
    for item in range(items):
        clearness = clear * rng.standard_normal()
        found[str(item)] = [
            Ballot(f"r{r}", "a", "b", "left" if rng.random() < 1 / (1 + np.exp(-clearness - leans[r])) else "right")
            for r in rng.choice(raters, per, replace=False)
        ]
    return found


def test_with_each_vote_once_the_weighted_alpha_is_the_librarys() -> None:
    rows = [(i, b.rater, int(b.choice == "right")) for i, some in crowd(40, 12, 4, 0).items() for b in some]
    table = pd.DataFrame(rows, columns=["item", "rater", "code"])
    expected = evalica.alpha(table.pivot(index="rater", columns="item", values="code").astype(float)).alpha
    items = table["item"].astype(int).to_numpy()
    for often in (1, 2):  # who stands twice is not two people
        assert _alpha(items, table["code"].to_numpy(), np.full(len(rows), float(often))) == pytest.approx(expected)


def test_a_rater_drawn_twice_does_not_agree_with_themselves() -> None:
    """Where nobody agrees but by chance, no weighting of raters makes them agree on average."""
    rng = np.random.default_rng(1)
    items, codes = np.repeat(np.arange(60), 4), rng.integers(2, size=240)
    drawn = [_alpha(items, codes, np.tile(rng.multinomial(4, [0.25] * 4), 60).astype(float)) for _ in range(400)]
    assert np.nanmean(drawn) == pytest.approx(_alpha(items, codes, np.ones(240)), abs=0.02)


def test_alphas_interval_is_over_raters() -> None:
    """Half of the raters say the opposite of the others: it matters who was asked, and how many votes hardly."""
    rng = np.random.default_rng(2)
    items = {}
    for item in range(150):
        truth = rng.random() < 0.5
        said = [("left" if truth == (r < 5) else "right") for r in range(10)]
        items[str(item)] = [Ballot(f"r{r}", "a", "b", said[r]) for r in rng.choice(10, 4, replace=False)]  # type: ignore[arg-type]
    alone = {item: [replace(b, rater=f"{item}-{b.rater}") for b in rows] for item, rows in items.items()}
    clustered, plain = between_people(items), between_people(alone)
    assert value(clustered) == pytest.approx(value(plain))
    assert clustered is not None
    assert plain is not None
    assert clustered.high - clustered.low > 1.5 * (plain.high - plain.low)


def test_alphas_interval_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 60)
    true = float(np.mean([value(between_people(crowd(3_000, 300, 4, 100 + seed))) for seed in range(2)]))
    covered = 0
    for seed in range(60):
        found = between_people(crowd(120, 20, 4, seed))
        assert found is not None
        covered += found.low <= true <= found.high
    assert covered >= 54


def test_single_texts_agree_where_what_was_liked_scores_higher() -> None:
    choices = ["like", "funny", "5", "dislike", "1", "3", "skip"] * 10
    marks = [Mark(f"r{n % 5}", "a", choice, trial=str(n)) for n, choice in enumerate(choices)]
    high = {mark.trial: 1.0 if mark.choice in ("like", "funny", "5") else -1.0 for mark in marks}
    found = agree_alone(marks, high)
    assert found
    assert (found.value, found.n) == (1.0, 50)  # a 3 and a skip say nothing
    dice = np.random.default_rng(0)
    noise = {mark.trial: float(dice.normal()) for mark in marks}
    by_chance = agree_alone(marks, noise)
    assert by_chance
    assert by_chance.low < 0.5 < by_chance.high
    liked = [mark.choice in ("like", "funny", "5") for mark in marks if mark.choice not in ("3", "skip")]
    scores = [noise[mark.trial] for mark in marks if mark.choice not in ("3", "skip")]
    assert by_chance.value == pytest.approx(roc_auc_score(liked, scores))
    assert agree_alone([mark for mark in marks if mark.choice == "like"], high) is None
    assert agree_alone([], high) is None


def test_alpha_of_marks_is_the_librarys_with_ordered_distances() -> None:
    rng = np.random.default_rng(4)
    marks = []
    for item in range(60):
        middle = rng.uniform(1, 5)
        for r in rng.choice(9, 3, replace=False):
            marks.append(Mark(f"r{r}", "a", str(int(np.clip(round(rng.normal(middle, 0.8)), 1, 5))), text=str(item)))
    table = pd.DataFrame([(m.text, m.rater, float(m.choice)) for m in marks], columns=["item", "rater", "code"])
    wide = table.pivot(index="rater", columns="item", values="code")
    expected = evalica.alpha(wide, distance="ordinal").alpha
    found = between_marks(marks, "12345")
    assert value(found) == pytest.approx(expected)
    assert expected > evalica.alpha(wide).alpha + 0.1, "a 4 beside a 5 is not a 1 beside a 5"
    assert found is not None
    assert found.n == 180
    assert found.low < found.value - 0.05
    items, codes = ratings.numbers([m.text for m in marks]), np.array([int(m.choice) - 1 for m in marks])
    for often in (1, 3):
        assert _alpha(items, codes, np.full(180, float(often)), _ordinal) == pytest.approx(expected)
    others = [replace(mark, choice=choice) for mark, choice in zip(marks, ["skip", "like", "funny"] * 60, strict=True)]
    assert between_marks([*marks, *others], "12345") == found, "other verdicts are left out"
    assert between_marks(others, "12345") is None
    assert between_marks([replace(mark, text=mark.rater + mark.text) for mark in marks], "12345") is None


def test_two_choices_are_alike_far_apart_in_any_order() -> None:
    people = [ballots("left", "right", "left", "left", rater="x"), ballots("left", "right", "right", "left", rater="y")]
    items = {str(n): [said[n] for said in people] for n in range(4)}
    marks = [Mark(b.rater, "a", "like" if b.choice == "left" else "dislike", text=b.trial) for p in people for b in p]
    assert value(between_marks(marks, ("dislike", "like"))) == pytest.approx(value(between_people(items)))
