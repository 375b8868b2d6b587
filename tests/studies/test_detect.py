"""Detection: d' by hand and of simulated people, detectors beside the plain formulas, styles that differ and do not."""

from math import log, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm, t

from engine.backbone import Backbone
from engine.decode import decode
from engine.methods.base import Ask, Conditioning
from studies.detect import Detection, _traced, curvature, detection, detectors, recognisability, texts_by_arm, traces
from studies.ratings import Ballot, Mark
from studies.schedule import HUMAN
from tests.conftest import DISLIKES, LIKES
from tests.studies.test_judge import on_an_adapter

# ---- what people detect


def said(rater: str, arm: str, hits: int, of: int) -> list[Mark]:
    return [Mark(rater, arm, "like", sounds_ai=n < hits) for n in range(of)]


def by_arm(marks: list[Mark], ballots: list[Ballot] | None = None) -> dict[str, Detection]:
    return {row.arm: row for row in detection(ballots or [], marks)}


def test_d_prime_and_criterion_by_hand() -> None:
    """8 of 10 and 2 of 10 with half a vote more of each kind: z(8.5 / 11) = 0.748 and z(2.5 / 11) = -0.748."""
    found = by_arm(said("r", "a", 8, 10) + said("r", HUMAN, 2, 10))
    assert found["a"].d_prime is not None
    assert found["a"].d_prime.value == pytest.approx(2 * 0.7479, abs=1e-3)
    assert found["a"].bias == pytest.approx(0, abs=1e-12)
    assert found["a"].rate.value == 0.8
    assert (found[HUMAN].rate.value, found[HUMAN].d_prime, found[HUMAN].bias) == (0.2, None, None)
    p, z = 8.5 / 11, 0.7479
    half = 1.96 * sqrt(2 * p * (1 - p) / (10 * norm.pdf(z) ** 2))  # one rater: of their votes
    assert found["a"].d_prime.high - found["a"].d_prime.value == pytest.approx(half, abs=1e-3)
    assert found["a"].d_prime.n == 20


def test_several_raters_are_averaged_and_the_interval_is_over_them() -> None:
    counts = [(8, 10, 2, 10), (5, 9, 3, 6), (10, 10, 0, 4), (1, 3, 1, 3)]
    marks, own = [], []
    for n, (hits, shown, alarms, posts) in enumerate(counts):
        marks += said(f"r{n}", "a", hits, shown) + said(f"r{n}", HUMAN, alarms, posts)
        hit, alarm = norm.ppf((hits + 0.5) / (shown + 1)), norm.ppf((alarms + 0.5) / (posts + 1))
        own.append((hit - alarm, -(hit + alarm) / 2))
    marks += said("who saw no post", "a", 9, 9)
    found = by_arm(marks)["a"]
    d, c = np.array(own).T
    assert found.d_prime is not None
    assert found.d_prime.value == pytest.approx(d.mean())
    low, high = t.interval(0.95, 3, d.mean(), d.std(ddof=1) / 2)
    assert (found.d_prime.low, found.d_prime.high) == pytest.approx((low, high))
    assert found.bias == pytest.approx(c.mean())
    assert found.rate.n == 10 + 9 + 10 + 3 + 9  # the rate is of all


def test_both_sides_of_a_ballot_and_single_texts_count_and_skips_do_not() -> None:
    ballots = [
        Ballot("r", "a", HUMAN, "left", frozenset({"left"})),
        Ballot("r", HUMAN, "a", "both", frozenset({"left", "right"})),
        Ballot("r", "a", "b", "neither"),
        Ballot("r", "a", "b", "skip", frozenset({"left", "right"})),
    ]
    marks = [Mark("r", "a", "like", sounds_ai=True), Mark("r", "a", "skip", sounds_ai=True)]
    marks += [Mark("r", "a", choice) for choice in ("funny", "not_funny", "1", "5")]  # of which it is not asked
    found = by_arm(marks, ballots)
    assert list(found) == ["a", "b", HUMAN]
    assert {arm: (row.rate.value, row.rate.n) for arm, row in found.items()} == {
        "a": (3 / 4, 4),
        "b": (0, 1),
        HUMAN: (1 / 2, 2),
    }
    assert detection([], []) == []


def test_without_posts_by_people_there_is_a_rate_and_no_truth() -> None:
    row = by_arm(said("r", "a", 3, 4))["a"]
    assert (row.rate.value, row.d_prime, row.bias) == (0.75, None, None)


def test_who_calls_everything_a_machine_detects_nothing() -> None:
    found = by_arm(said("r", "a", 10, 10) + said("r", HUMAN, 10, 10))["a"]
    assert found.d_prime is not None
    assert found.d_prime.value == pytest.approx(0)
    assert found.bias is not None
    assert found.bias < -1


def test_a_planted_sensitivity_is_found_again() -> None:
    """Raters whose d' is 1.2 on average, with criteria of their own: the interval covers it in 19 of 20 runs or so."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        marks: list[Mark] = []
        for r in range(12):
            d, criterion = rng.normal(1.2, 0.3), rng.normal(0.4, 0.5)
            for arm, shift in (("a", d / 2), (HUMAN, -d / 2)):
                marks += said(f"r{r}", arm, rng.binomial(60, norm.cdf(shift - criterion)), 60)
        d_prime = by_arm(marks)["a"].d_prime
        assert d_prime is not None
        covered += d_prime.low <= 1.2 <= d_prime.high
    assert covered >= 53


# ---- what detectors do

TEXTS = [*LIKES, *DISLIKES, "Yes.", "A much longer text, so that the rows of a batch are not alike at all. " * 3]


def test_traces_are_the_plain_formulas_whatever_else_is_in_the_batch(tiny: Backbone) -> None:
    found = traces(tiny, TEXTS)
    for n, text in enumerate(TEXTS):
        ids = tiny.tokens(text)
        with torch.inference_mode():
            logits = tiny.model(input_ids=torch.tensor([[tiny.tokenizer.bos_token_id, *ids]])).logits[0, :-1]
        logs = logits.double().log_softmax(-1).numpy()
        own = [logs[place, token] for place, token in enumerate(ids)]
        ranks = [1 + (logs[place] > logs[place, token]).sum() for place, token in enumerate(ids)]
        assert found.likelihood[n] == pytest.approx(np.mean(own), abs=1e-4)
        assert found.rank[n] == pytest.approx(-np.mean([log(rank) for rank in ranks]), abs=0.02)
        p = np.exp(logs)
        mean = (p * logs).sum(-1)
        spread = sqrt(((p * (logs - mean[:, None]) ** 2).sum(-1)).sum())
        assert found.curvature[n] == pytest.approx((sum(own) - mean.sum()) / spread, abs=1e-2)
    assert curvature(tiny, TEXTS).tolist() == found.curvature.tolist()
    assert curvature(tiny, []).shape == (0,)
    with pytest.raises(ValueError, match="without a token"):
        traces(tiny, ["a text", ""])


def test_two_tokens_by_hand() -> None:
    """The likeliest of three with p 1/2, then the second of three with p 0.3: ranks 1 and 2."""
    p = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.6, 0.3]])
    likelihood, rank, curve = _traced(p.log(), torch.tensor([0, 2]))
    assert likelihood == pytest.approx((log(0.5) + log(0.3)) / 2)
    assert rank == pytest.approx(-log(2) / 2)
    mean = [sum(q * log(q) for q in row) for row in p.tolist()]
    spread = sum(q * (log(q) - m) ** 2 for row, m in zip(p.tolist(), mean, strict=True) for q in row)
    assert curve == pytest.approx((log(0.5) + log(0.3) - sum(mean)) / sqrt(spread), abs=1e-5)


def test_the_adapter_under_a_model_is_there(tiny: Backbone) -> None:
    merged, carried = (traces(lm, TEXTS) for lm in on_an_adapter(tiny))
    assert carried.curvature == pytest.approx(merged.curvature, abs=1e-2)
    assert carried.curvature != pytest.approx(traces(tiny, TEXTS).curvature, abs=0.1)


def test_the_analytic_curvature_is_what_sampling_finds(tiny: Backbone) -> None:
    """Fast-DetectGPT's other form: token by token 4,000 draws in the text's place, their log p's mean and spread."""
    ids = torch.tensor(tiny.tokens(LIKES[0]))
    with torch.inference_mode():
        logs = tiny.model(input_ids=torch.tensor([[tiny.tokenizer.bos_token_id, *ids]])).logits[0, :-1].log_softmax(-1)
        torch.manual_seed(0)
        drawn = torch.distributions.Categorical(logits=logs).sample((4_000,))  # (S, T)
        sums = logs.expand(4_000, -1, -1).gather(-1, drawn[..., None]).sum((1, 2))
        own = logs.gather(-1, ids[:, None]).sum()
    expected = float((own - sums.mean()) / sums.std())
    assert curvature(tiny, [LIKES[0]])[0] == pytest.approx(expected, abs=0.15)


def test_what_the_model_wrote_itself_is_told_from_posts(lm: Backbone) -> None:
    asks = [Ask(payload=topic, seed=n, temperature=0.7) for n, topic in enumerate(("cats", "the gym", "coffee"))]
    told = [(Conditioning(({"role": "user", "content": ask.instruction()},)), ask) for ask in asks]
    written = [texts[0].text for texts in decode(lm, told)]
    found = {row.name: row for row in detectors(lm, {"none": written, HUMAN: LIKES, "empty": []})}
    assert found.keys() == {"likelihood", "rank", "curvature"}
    for row in found.values():
        assert (row.arm, row.auc.n) == ("none", len(written) + len(LIKES))
        assert row.auc.value > 0.75
        assert row.auc.low <= row.auc.value <= row.auc.high
    assert detectors(lm, {"none": written}) == []  # no truth, no AUC


# ---- whether arms can be told apart


def styled(style: str, count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    words = ["cat", "dog", "coffee", "train", "bus", "monday", "printer", "plant", "wifi", "joke", "sock", "moon"]
    texts = [" ".join(rng.choice(words, 9)) for _ in range(count)]
    return [text.upper() + "!!!" if style == "loud" else text.replace(" ", ", ") for text in texts]


def test_styles_are_told_apart_and_equals_are_not() -> None:
    found = recognisability({"loud": styled("loud", 30, 0), "listed": styled("listed", 30, 1)})
    assert found.accuracy.value == 1
    assert found.accuracy.low > 0.9
    assert found.pairs == {("listed", "loud"): 1.0}
    same = recognisability({name: styled("listed", 40, seed) for seed, name in enumerate("abc")})
    assert same.chance == pytest.approx(1 / 3)
    assert same.accuracy.low < same.chance + 0.05
    assert same.pairs.keys() == {("a", "b"), ("a", "c"), ("b", "c")}
    assert all(0.2 < value < 0.8 for value in same.pairs.values())
    mixed = recognisability({"a": styled("listed", 20, 0), "b": styled("listed", 20, 1), "c": styled("loud", 20, 2)})
    assert mixed.pairs["a", "c"] == mixed.pairs["b", "c"] == 1.0
    assert mixed.pairs["a", "b"] < 0.8


def test_a_subject_gives_no_arm_away_where_topics_are_known() -> None:
    """Each topic is of one arm only: by its words the texts of a topic that was seen are known, of a new one not."""
    rng = np.random.default_rng(0)
    topics = {arm: [f"{arm}{n // 6}" for n in range(30)] for arm in "ab"}
    letters = list("abcdefghijklmnopqrstuvwxyz")
    word = {topic: "".join(rng.choice(letters, 8)) for arm in "ab" for topic in topics[arm]}
    texts = {arm: [f"{word[topic]} {rng.integers(1000)} {word[topic]}" for topic in topics[arm]] for arm in "ab"}
    assert recognisability(texts).accuracy.value > 0.95
    grouped = recognisability(texts, topics)
    assert grouped.accuracy.value < 0.8
    assert grouped.accuracy.n == 60
    assert grouped.accuracy.low < 0.5 < grouped.accuracy.high


@pytest.mark.parametrize(
    ("texts", "topics", "told"),
    [
        ({"a": ["x", "y"]}, None, "at least two arms"),
        ({"a": ["x", "y"], "b": ["z"]}, None, "too few texts"),
        ({"a": ["x", "y"], "b": []}, None, "at least two arms"),
        ({"a": ["x", "y"], "b": ["z", "w"]}, {"a": ["1", "2"], "b": ["1", "1"]}, "too few texts"),
    ],
)
def test_too_little_to_learn_from(texts: Any, topics: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        recognisability(texts, topics)


def test_texts_stand_under_their_arm_once() -> None:
    ballots = [Ballot("r", "a", "b", "left", left_text="one", right_text="two"), Ballot("q", "b", "a", "skip")]
    ballots.append(Ballot("q", "b", "a", "left", left_text="two", right_text="three"))
    marks = [Mark("r", "c", "funny", text="four"), Mark("r", "a", "funny", text="one")]
    assert texts_by_arm(ballots, marks) == {"a": ["one", "three"], "b": ["two"], "c": ["four"]}
