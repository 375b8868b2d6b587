"""Side bias, heterogeneity and style: against enumeration and a general optimiser, and planted effects found again."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from studies import ratings
from studies.effects import EMOJI, LIST, Styled, heterogeneity, side_bias, styled
from studies.ratings import PRIOR_TIES, Ballot, standings, wilson
from studies.schedule import Design
from studies.simulate import ARMS, Population, ballots

Floats = NDArray[np.float64]
SWAP: dict[str, Any] = {"left": "right", "right": "left", "both": "both", "neither": "neither"}


def crowd(tastes: Floats, blocks: int, rng: np.random.Generator) -> list[Ballot]:
    """Raters (G, A) who each meet every ordered pair of arms `blocks` times."""
    said = []
    for g, own in enumerate(tastes):
        for a, b in product(range(len(own)), repeat=2):
            for _ in range(blocks if a != b else 0):
                left = rng.random() < 1 / (1 + np.exp(own[b] - own[a]))
                said.append(Ballot(f"r{g}", "abcdef"[a], "abcdef"[b], "left" if left else "right"))
    return said


def sided(leans: Sequence[tuple[int, int]]) -> list[Ballot]:
    """Raters who said left and right so often."""
    return [
        Ballot(f"r{r}", "a", "b", "left" if n < left else "right")
        for r, (left, right) in enumerate(leans)
        for n in range(left + right)
    ]


# ---- side


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=7))
def test_the_test_counts_every_way_to_turn_raters_around(leans: list[tuple[int, int]]) -> None:
    said = sided(leans)
    lean = np.array([left - right for left, right in leans])
    ways = [abs((lean * signs).sum()) >= abs(lean.sum()) for signs in product([1, -1], repeat=len(lean))]
    found = side_bias(said)
    assert found.p == pytest.approx(np.mean(ways))
    assert found.n == len(said)
    if said:
        assert found.share == pytest.approx(sum(left for left, _ in leans) / len(said))
        assert found.low <= found.share <= found.high


def test_a_lean_of_one_rater_proves_nothing_of_others_and_one_of_twelve_does() -> None:
    one, twelve = side_bias(sided([(60, 0)])), side_bias(sided([(5, 0)] * 12))
    assert (one.share, one.p) == (1.0, 1.0)
    assert (one.low, one.high) == wilson(60, 60)
    assert (twelve.share, twelve.p) == (1.0, 2 / 2**12)
    mixed = side_bias(sided([(9, 1), (1, 9)] * 6))
    assert (mixed.share, mixed.p) == (0.5, 1.0)


def test_ties_and_skips_have_no_side() -> None:
    said = sided([(3, 1), (2, 2)])
    more = [Ballot("r0", "a", "b", choice) for choice in ("both", "neither", "skip")]
    assert side_bias([*more, *said]) == side_bias(said)
    nothing = side_bias(more)
    assert (nothing.share, nothing.low, nothing.high, nothing.p, nothing.n) == (0.5, 0.0, 1.0, 1.0, 0)


def test_side_bias_is_found_where_it_is_and_rarely_where_it_is_not() -> None:
    """Raters who each like a side of their own, none for all of them: a plain binomial test would call one in six."""
    fair = [
        side_bias(ballots(Population(side_spread=0.6), Design(n, ARMS, blocks=1), 10, seed=n)).p for n in range(150)
    ]
    assert np.mean(np.array(fair) < 0.05) <= 0.10
    found = side_bias(ballots(Population(side=0.4), Design(1, ARMS, blocks=2), 20, seed=1))
    assert found.p < 0.001
    assert 0.5 < found.low < found.share < found.high < 0.7


# ---- who prefers what


def test_the_spread_of_tastes_is_found_again() -> None:
    rng = np.random.default_rng(0)
    base = np.array([0.6, 0.2, 0.0, -0.2, -0.6])
    for spread, low, high in ((0.0, 0.0, 0.2), (0.5, 0.4, 0.6), (1.0, 0.85, 1.15)):
        found = [heterogeneity(crowd(base + spread * rng.standard_normal((20, 5)), 3, rng)).sd for _ in range(6)]
        assert low < np.mean(found) < high


def test_every_rater_is_at_the_mode_that_a_general_optimiser_finds() -> None:
    rng = np.random.default_rng(1)
    said = crowd(rng.normal(size=(4, 3)), 2, rng)
    said[3] = replace(said[3], choice="both")
    found = heterogeneity(said)
    assert [row.arm for row in found.typical] == ["a", "b", "c"]
    centre = np.array([row.strength for row in found.typical])
    for rater in ("r0", "r3"):
        mine = [ballot for ballot in said if ballot.rater == rater]

        def cost(x: Floats, mine: list[Ballot] = mine) -> float:
            at = dict(zip("abc", x, strict=True))
            score = {"left": 1.0, "right": 0.0, "both": 0.5}
            gaps = [(score[ballot.choice], at[ballot.left] - at[ballot.right]) for ballot in mine]
            said = sum(s * np.logaddexp(0, -gap) + (1 - s) * np.logaddexp(0, gap) for s, gap in gaps)
            return float(said + ((x - centre) ** 2).sum() / (2 * found.sd**2))

        mode = minimize(cost, centre, method="BFGS").x
        assert [row.strength for row in found.raters if row.rater == rater] == pytest.approx(mode, abs=1e-3)


def test_intervals_hold_raters_own_strengths() -> None:
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(8):
        tastes = np.array([0.4, 0.1, 0.0, -0.5]) + 0.6 * rng.standard_normal((20, 4))
        own = tastes - tastes.mean(1, keepdims=True)
        rows = heterogeneity(crowd(tastes, 4, rng)).raters
        assert [row.arm for row in rows[:4]] == list("abcd")
        inside += [row.low <= own[int(row.rater[1:]), "abcd".index(row.arm)] <= row.high for row in rows]
    assert 0.91 <= np.mean(inside) <= 0.98


def test_two_camps_are_told_apart_and_a_newcomer_is_like_everybody() -> None:
    rng = np.random.default_rng(3)
    said = crowd(np.array([[1.0, -1.0, 0.0]] * 8 + [[-1.0, 1.0, 0.0]] * 8), 5, rng)
    said.append(Ballot("new", "a", "b", "left"))
    found = heterogeneity(said)
    assert found.sd > 0.6
    best = {row.rater: row.arm for row in sorted(found.raters, key=lambda row: row.strength)}
    assert [best[f"r{g}"] for g in range(16)] == ["a"] * 8 + ["b"] * 8
    new = next(row for row in found.raters if (row.rater, row.arm) == ("new", "a"))
    old = next(row for row in found.raters if (row.rater, row.arm) == ("r0", "a"))
    assert 0 < new.strength < old.strength
    assert new.high - new.low > 1.5 * (old.high - old.low)


def test_two_raters_who_differ_are_not_worlds_apart() -> None:
    said = [Ballot("r1", "a", "b", "left")] * 6 + [Ballot("r2", "a", "b", "both")] * 6
    found = heterogeneity(said)
    assert 0.3 < found.sd < 2
    assert found.raters[0].strength > found.typical[0].strength > found.raters[2].strength > 0


def test_one_rater_cannot_differ() -> None:
    for said in ([], crowd(np.array([[1.0, 0.0]]), 5, np.random.default_rng(0))):
        found = heterogeneity(said)
        assert (found.sd, found.raters, found.typical) == (0.0, (), ())


def test_typical_strengths_are_those_of_raters_where_pooled_ones_are_nearer_to_0() -> None:
    """Many raters of strong and different tastes, of whom all votes together say a third too little."""
    rng = np.random.default_rng(9)
    tastes = np.array([1.0, 0.0, -1.0]) + 1.2 * rng.standard_normal((150, 3))
    said = crowd(tastes, 6, rng)
    own = (tastes - tastes.mean(1, keepdims=True)).mean(0)
    found, pooled = heterogeneity(said), {row.arm: row.strength for row in standings(said)}
    assert [row.strength for row in found.typical] == pytest.approx(own, abs=0.12)
    assert 0 < pooled["a"] < found.typical[0].low < own[0] < found.typical[0].high
    assert found.typical[0].high - found.typical[0].low == pytest.approx(
        2 * 1.976 * (tastes - tastes.mean(1, keepdims=True))[:, 0].std() / 150**0.5, rel=0.25
    )  # Student's t for 149 degrees of freedom; a rater's own strengths are not known as exactly as here


def test_typical_strengths_of_one_mind_stay_finite_and_equal_raters_are_typical() -> None:
    found = heterogeneity([Ballot(f"r{n % 3}", "a", "b", "left") for n in range(30)])
    assert 0 < found.typical[0].strength < 20
    alike = heterogeneity([Ballot(f"r{n % 4}", "a", "b", "left" if n < 28 else "right") for n in range(40)])
    assert alike.typical[0].strength == pytest.approx(np.log(28.1 / 12.1) / 2, abs=0.02)
    assert all(row.strength == pytest.approx(alike.typical[0].strength, abs=0.02) for row in alike.raters[::2])


# ---- style


def dressed(said: list[Ballot], rng: np.random.Generator, pull: float) -> list[Ballot]:
    """Texts of random length, those of "a" twice as long; a vote goes to the longer one as log-odds of `pull` say."""
    found = []
    for ballot in said:
        left, right = (int(rng.integers(40, 160)) * (2 if arm == "a" else 1) for arm in (ballot.left, ballot.right))
        if rng.random() < abs(np.tanh(pull * np.log(left / right) / 2)):
            ballot = replace(ballot, choice="left" if left > right else "right")
        found.append(replace(ballot, left_text="x" * left, right_text="x" * right))
    return found


def value(found: Styled, name: str) -> Any:
    return next(row for row in found.coefficients if row.name == name)


def test_what_length_gained_is_not_the_arms() -> None:
    rng = np.random.default_rng(4)
    said = dressed(crowd(np.array([[-0.3, 0.3, 0.0]] * 20), 5, rng), rng, pull=1.5)
    plain, found = standings(said), styled(said)
    assert plain[0].arm == "a"
    assert [row.arm for row in found.standings] == ["b", "c", "a"]
    assert value(found, "length").low > 0.3
    assert [row.name for row in found.coefficients] == ["length", "left"]  # nobody used an emoji or a list
    assert [(row.wins, row.losses, row.ties) for row in sorted(found.standings, key=lambda row: row.arm)] == [
        (row.wins, row.losses, row.ties) for row in sorted(plain, key=lambda row: row.arm)
    ]


def test_it_is_the_maximum_that_a_general_optimiser_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "RESAMPLES", 3)
    rng = np.random.default_rng(5)
    said = dressed(crowd(np.array([[0.5, 0.0, -0.5]] * 3), 1, rng), rng, pull=1.0)
    said = [replace(b, left_text=b.left_text + "\U0001f600" * (n % 3)) for n, b in enumerate(said)]
    said[2] = replace(said[2], choice="neither")
    long = np.array([np.log(len(b.left_text) / len(b.right_text)) for b in said])
    smile = np.array([n % 3 for n in range(len(said))], float)
    long, smile = long / long.std(), smile / smile.std()

    def cost(x: Floats) -> float:
        at = dict(zip("abc", x[:3], strict=True))
        score = {"left": 1.0, "right": 0.0, "neither": 0.5}
        total = x[:3].sum() ** 2
        for n, b in enumerate(said):
            gap, s = at[b.left] - at[b.right] + x[3] * long[n] + x[4] * smile[n] + x[5], score[b.choice]
            total += s * np.logaddexp(0, -gap) + (1 - s) * np.logaddexp(0, gap)
        for gap in [*(x[a] - x[b] for a, b in combinations(range(3), 2)), *x[3:]]:
            total += PRIOR_TIES / 2 * (np.logaddexp(0, gap) + np.logaddexp(0, -gap))
        return float(total)

    best = minimize(cost, np.zeros(6), method="BFGS", options={"gtol": 1e-7}).x
    found = styled(said)
    assert [(row.name, row.value) for row in found.coefficients] == [
        ("length", pytest.approx(best[3], abs=1e-4)),
        ("emoji", pytest.approx(best[4], abs=1e-4)),
        ("left", pytest.approx(best[5], abs=1e-4)),
    ]
    assert {row.arm: row.strength for row in found.standings} == pytest.approx(
        dict(zip("abc", best[:3], strict=True)), abs=1e-4
    )


def test_without_texts_it_is_bradley_terry_with_a_side() -> None:
    said = ballots(Population(side=0.4), Design(1, ARMS, blocks=2), 12, seed=3)
    found, plain = styled(said), {row.arm: row for row in standings(said)}
    assert [row.name for row in found.coefficients] == ["left"]
    left = value(found, "left")
    assert 0 < left.low < left.value < left.high < 0.6
    for row in found.standings:
        assert row.strength == pytest.approx(plain[row.arm].strength, abs=0.06)
        assert row.high - row.low == pytest.approx(plain[row.arm].high - plain[row.arm].low, rel=0.15)


def test_the_mirror_image_likes_the_other_side() -> None:
    said = dressed(ballots(Population(side=0.3), Design(1, ARMS), 6, seed=4), np.random.default_rng(6), pull=0.5)
    mirrored = [
        Ballot(b.rater, b.right, b.left, SWAP[b.choice], left_text=b.right_text, right_text=b.left_text) for b in said
    ]
    there, back = styled(said), styled(mirrored)
    assert value(back, "left").value == pytest.approx(-value(there, "left").value, abs=1e-6)
    assert value(back, "left").low == pytest.approx(-value(there, "left").high, abs=1e-6)
    assert value(back, "length").value == pytest.approx(value(there, "length").value, abs=1e-6)
    assert [row.strength for row in back.standings] == pytest.approx([r.strength for r in there.standings], abs=1e-6)


def test_intervals_of_a_pull_know_that_raters_differ() -> None:
    """Half of the raters always take the longer text, the others the shorter one: nothing is known of the next ones."""
    said = dressed(crowd(np.zeros((12, 2)), 6, np.random.default_rng(7)), np.random.default_rng(8), pull=0.0)
    said = [
        replace(b, choice="left" if (len(b.left_text) > len(b.right_text)) == (int(b.rater[1:]) % 2 == 0) else "right")
        for b in said
    ]
    split, apart = (
        value(styled(those), "length") for those in (said, [replace(b, rater=str(n)) for n, b in enumerate(said)])
    )
    assert split.low < 0 < split.high
    assert split.high - split.low > 2 * (apart.high - apart.low)


def test_a_text_beside_itself_tells_of_the_side_alone() -> None:
    said = [Ballot(f"r{n % 4}", "a", "a", "left" if n % 3 else "right") for n in range(24)]
    found = styled(said)
    assert found.coefficients[0].value == pytest.approx(np.log(16.1 / 8.1), abs=1e-6)
    assert found.standings[0].strength == 0
    assert (side_bias(said).share, heterogeneity(said).typical[0].strength) == (16 / 24, 0)


def test_no_votes_have_no_style_and_votes_of_one_mind_stay_finite() -> None:
    assert styled([]) == styled([Ballot("r", "a", "b", "skip")]) == Styled((), ())
    said = [Ballot("r", "a", "b", "left", left_text="- long one", right_text="no") for _ in range(12)]
    said[0] = replace(said[0], left_text="- longer one")
    found = styled(said)
    assert [row.name for row in found.coefficients] == ["length", "left"]  # the list is always on the left
    assert all(np.isfinite([row.value, row.low, row.high]).all() for row in found.coefficients)
    assert found.standings[0].low < found.standings[0].strength < found.standings[0].high


@pytest.mark.parametrize(
    ("text", "emoji", "items"),
    [
        ("plain: 3 - 2 = 1, #1 *really*", 0, 0),
        ("\U0001f600\U0001f600 ha", 2, 0),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f44d\U0001f3fd", 2, 0),  # a family, a toned thumb
        ("\U0001f1f3\U0001f1f1\U0001f1e9\U0001f1ea \u2764\ufe0f", 3, 0),  # two flags, a heart
        ("- one\n  * two\n3. three\n4) four\n\u2022 five\n-six", 0, 5),
    ],
)
def test_emoji_and_list_markers_are_counted_as_people_see_them(text: str, emoji: int, items: int) -> None:
    assert len(EMOJI.findall(text)) == emoji
    assert len(LIST.findall(text)) == items
