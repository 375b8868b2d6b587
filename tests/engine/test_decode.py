"""The one decoder: exact against the library where the library can say it, and literal tables for the sampler."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.backbone import Backbone
from engine.decode import Generation, decode, draw, penalised, row_seed
from engine.methods.base import Ask, Conditioning

GREEDY = Ask(temperature=0.0, repetition_penalty=1.0)
PLAIN = Ask(temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0)  # the softmax as it stands
NEAR_ONE = float(np.nextafter(1.0, 0.0))
TEXTS = (
    "hi",
    "Tell me a joke about a very tired cat who lives in a lighthouse with two goats and a brass band.",
    "Say hello.",
    "List three colours, please, and nothing else.",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """On cores that others use, two threads that wait for each other are ten times slower than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sampled(logits: np.ndarray, ask: Ask, uniform: float, seen: Sequence[int]) -> int:
    """The whole sampler, as a row uses it."""
    return draw(penalised(logits, ask.repetition_penalty, seen), ask, uniform)


def told(text: str) -> Conditioning:
    return Conditioning(({"role": "user", "content": text},))


def prompt(lm: Backbone, text: str) -> list[int]:
    return lm.tokens(lm.render(told(text).messages))


def one(lm: Backbone, text: str, ask: Ask) -> Generation:
    return decode(lm, [(told(text), ask)])[0][0]


def stopping_at(lm: Backbone, *tokens: int) -> Backbone:
    """The same model, with other tokens that end its turn."""
    other = Backbone(lm.model, lm.tokenizer, lm.name, lm.plan)
    other.stop_ids = frozenset(tokens)
    return other


@pytest.fixture(scope="module")
def endless(tiny: Backbone) -> Backbone:
    """No token ends its turn, so that a budget is always used up."""
    return stopping_at(tiny)


# ---- the loop


def test_greedy_rows_equal_the_librarys_generate_token_by_token(lm):
    rows = [(TEXTS[0], 1.0), (TEXTS[1], 1.0), (TEXTS[2], 1.1), (TEXTS[1], 1.1)]
    assert len({len(prompt(lm, text)) for text, _ in rows}) == 3  # so that some are padded
    asks = [replace(GREEDY, repetition_penalty=penalty, max_new_tokens=12) for _, penalty in rows]
    ours = [texts[0] for texts in decode(lm, [(told(text), ask) for (text, _), ask in zip(rows, asks, strict=True)])]
    for (text, penalty), row in zip(rows, ours, strict=True):
        ids = torch.tensor([prompt(lm, text)])
        theirs = lm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            repetition_penalty=penalty,
            max_new_tokens=12,
        )[0, ids.shape[1] :].tolist()
        ended = theirs[-1] in lm.stop_ids
        assert list(row.token_ids) == (theirs[:-1] if ended else theirs)
        assert row.finish == ("stop" if ended else "budget")
        assert row.text == lm.tokenizer.decode(theirs, skip_special_tokens=True).strip()
    assert {row.finish for row in ours} == {"stop", "budget"}  # both endings were compared
    assert ours[1].token_ids != ours[3].token_ids  # and the penalty made a difference


def test_a_sampled_row_depends_on_neither_mates_nor_place_nor_other_requests(lm):
    asks = [
        Ask(seed=3, max_new_tokens=7),
        Ask(seed=3, max_new_tokens=5, temperature=1.0, top_k=0, top_p=1.0),
        Ask(seed=9, max_new_tokens=7, n=2, repetition_penalty=1.3),
        replace(GREEDY, max_new_tokens=4),
    ]
    requests = [(told(text), ask) for text, ask in zip(TEXTS, asks, strict=True)]
    alone = [decode(lm, [request])[0] for request in requests]
    assert decode(lm, requests[::-1])[::-1] == alone  # each in another place, beside others, most of them padded


def test_rows_of_random_batches_equal_the_same_rows_alone(tiny):
    dice = np.random.default_rng(5)
    requests = []
    for seed in range(10):
        text = " ".join(dice.choice(["cat", "goat", "printer", "why", "lighthouse"], size=int(dice.integers(1, 40))))
        requests.append(
            (told(text), Ask(seed=seed, n=int(dice.integers(1, 3)), max_new_tokens=int(dice.integers(1, 7))))
        )
    alone = [decode(tiny, [request])[0] for request in requests]
    for _ in range(3):
        order = dice.permutation(len(requests))
        for i, texts in zip(order, decode(tiny, [requests[i] for i in order]), strict=True):
            assert texts == alone[i]


def test_padding_does_not_shift_a_model_with_learned_positions(tiny):
    """Rotary positions forgive a shift; here every place has an embedding of its own."""
    torch.manual_seed(2)
    config = GPT2Config(vocab_size=len(tiny.tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=256)
    config.initializer_range = 0.4
    lm = stopping_at(Backbone(GPT2LMHeadModel(config), tiny.tokenizer, "tiny-gpt2", tiny.plan))
    assert lm.context == 256
    asks = [replace(GREEDY, max_new_tokens=6), Ask(seed=1, max_new_tokens=6)]
    requests = [(told(text), ask) for text in TEXTS for ask in asks]
    assert [decode(lm, [request])[0] for request in requests] == decode(lm, requests)


@pytest.mark.parametrize("top_p", [0.95, 0.2])  # under 0.2 there is often no choice, and yet a uniform is spent
def test_a_decode_is_the_forward_pass_over_all_tokens_with_one_uniform_a_step(endless, top_p):
    """The reference has no cache, no padding and no batch: logits of the whole text, the row's next uniform, draw."""
    ask = Ask(seed=11, n=3, max_new_tokens=7, top_p=top_p)
    batch = decode(endless, [(told("a longer request than the other one"), ask), (told("hi"), ask)])
    start = prompt(endless, "hi")
    for sample, row in enumerate(batch[1]):
        random = np.random.Generator(np.random.PCG64(row_seed(11, sample)))
        ids: list[int] = []
        while len(ids) < 7:
            with torch.inference_mode():
                logits = endless.model(input_ids=torch.tensor([start + ids])).logits[0, -1].double().numpy()
            ids.append(sampled(logits, ask, random.random(), start + ids))
        assert list(row.token_ids) == ids


def test_samples_differ_and_keep_their_index_when_more_are_asked_for(endless):
    ask = Ask(seed=4, n=6, max_new_tokens=8)
    many = decode(endless, [(told("hi"), ask)])[0]
    assert len({row.token_ids for row in many}) == 6
    assert decode(endless, [(told("hi"), replace(ask, n=2))])[0] == many[:2]
    assert decode(endless, [(told("hi"), replace(ask, seed=5))])[0][0] != many[0]


def test_the_answer_is_aligned_with_the_requests(endless):
    requests = [(told("hi"), Ask(n=2, max_new_tokens=2)), (told("cat"), Ask(n=0)), (told("dog"), Ask(max_new_tokens=3))]
    assert [[len(row.token_ids) for row in rows] for rows in decode(endless, requests)] == [[2, 2], [], [3]]
    assert decode(endless, []) == []


def test_the_end_of_turn_ends_a_row_and_is_no_part_of_it(endless):
    ask = replace(GREEDY, max_new_tokens=8)
    free = one(endless, "hi", ask)
    assert (free.finish, len(free.token_ids)) == ("budget", 8)
    assert [free.token_ids.index(free.token_ids[k]) for k in (0, 4, 7)] == [0, 4, 7]  # each for the first time
    for k in (0, 4, 7):
        cut = one(stopping_at(endless, free.token_ids[k]), "hi", ask)
        assert (cut.token_ids, cut.finish) == (free.token_ids[:k], "stop")
        assert cut.text == endless.tokenizer.decode(free.token_ids[:k]).strip()
    # the budget is used up before the end of turn could be drawn
    assert one(stopping_at(endless, free.token_ids[7]), "hi", replace(ask, max_new_tokens=7)).finish == "budget"


def test_a_row_that_ended_stays_as_it_is_while_others_grow(endless):
    ask = replace(GREEDY, max_new_tokens=8)
    free = one(endless, "hi", ask)
    stopping = stopping_at(endless, free.token_ids[2])
    other = Ask(seed=8, max_new_tokens=12)
    calls: list[tuple[int, int, str]] = []
    requests = [(told("tell me something"), other), (told("hi"), ask)]
    [long], [short] = decode(stopping, requests, on_text=lambda *call: calls.append(call))
    assert (short.token_ids, short.finish) == (free.token_ids[:2], "stop")
    assert long == one(stopping, "tell me something", other)
    assert len(long.token_ids) == 12
    assert {text for request, _, text in calls if request == 1} == {
        endless.text(free.token_ids[:1]),
        endless.text(free.token_ids[:2]),
    }


def test_stopped_ends_early_with_the_text_so_far(endless):
    requests = [(told("hi"), Ask(n=2, max_new_tokens=30)), (told("a cat"), Ask(max_new_tokens=2))]
    whole = decode(endless, requests)
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) == 5

    cut = decode(endless, requests, stopped=stopped)
    assert len(asked) == 5  # once a step
    for sample in (0, 1):
        assert cut[0][sample].finish == "stopped"
        assert cut[0][sample].token_ids == whole[0][sample].token_ids[:5]
        assert cut[0][sample].text == endless.text(whole[0][sample].token_ids[:5]).strip()
    assert cut[1] == whole[1]  # what had ended by then has ended as it would have
    assert cut[1][0].finish == "budget"


def test_on_text_grows_and_ends_with_the_final_text(endless):
    calls: dict[tuple[int, int], list[str]] = {}
    requests = [(told("hi"), Ask(n=3, seed=1, max_new_tokens=12)), (told("a cat"), Ask(n=2, max_new_tokens=5))]
    rows = decode(endless, requests, on_text=lambda r, s, text: calls.setdefault((r, s), []).append(text))
    assert set(calls) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    for (request, sample), texts in calls.items():
        assert len(set(texts)) > 1
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        assert texts[-1] == rows[request][sample].text, "the last one told differs from the final text"


def test_on_text_never_shows_half_a_character(lm):
    """An emoji is three tokens here; a stream that shows its first two shows a replacement character."""
    texts: list[str] = []
    ask = replace(GREEDY, max_new_tokens=12)
    request = told("Repeat exactly: \U0001f602\U0001f602\U0001f602\U0001f602")
    final = decode(lm, [(request, ask)], on_text=lambda _r, _s, text: texts.append(text))[0][0].text
    assert final.count("\U0001f602") >= 2  # the model did write some
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


def test_a_prompt_and_budget_over_the_window_are_refused(endless):
    small = Backbone(endless.model, endless.tokenizer, endless.name, endless.plan)
    length = len(prompt(endless, "hi"))
    small.context = length + 5
    assert len(one(small, "hi", Ask(max_new_tokens=5)).token_ids) == 5
    calls: list[str] = []
    with pytest.raises(ValueError, match=f"{length} tokens and 6 new ones exceed the window of {length + 5}"):
        decode(
            small,
            [(told("hi"), Ask(max_new_tokens=5)), (told("hi"), Ask(max_new_tokens=6))],
            on_text=lambda _r, _s, text: calls.append(text),
        )
    assert calls == []
    with pytest.raises(ValueError, match="exceed the window of 2048"):
        one(endless, "cat " * 2100, Ask())


def test_the_lock_is_held_while_a_decode_runs_and_free_after(endless):
    held: list[bool] = []
    decode(endless, [(told("hi"), Ask(max_new_tokens=2))], on_text=lambda *_: held.append(endless.lock.locked()))
    assert held == [True, True]
    assert not endless.lock.locked()


# ---- seeds


def test_row_seeds_are_what_they_always_were():
    """Stored trials name their seed: if one of these changes, old texts can no longer be made again."""
    assert row_seed(0, 0) == 113087655986475463569973442520971331322
    assert row_seed(0, 1) == 224932693102551534865438518862676433997
    assert row_seed(1, 0) == 33017203033058095212747184580102682451
    assert row_seed(1, 10) == 209173546256648608155447163814189322877
    assert row_seed(11, 0) == 271440534417107042429058813435081141793
    assert row_seed(7, 2) == int(hashlib.sha256(b"7/2").hexdigest()[:32], 16)


def test_draws_of_a_seed_are_what_they_always_were():
    even = np.zeros(1000)  # so that a token is the uniform itself, in thousandths
    tokens = []
    for seed, sample in ((0, 0), (0, 1), (123, 0)):
        random = np.random.Generator(np.random.PCG64(row_seed(seed, sample)))
        tokens.append([sampled(even, PLAIN, random.random(), []) for _ in range(5)])
    assert tokens == [[405, 929, 971, 494, 212], [454, 50, 783, 939, 840], [948, 946, 667, 45, 703]]


# ---- the sampler


def logits_of(*probabilities: float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.array(probabilities))


def drawn(logits: np.ndarray, ask: Ask, *uniforms: float) -> list[int]:
    return [sampled(logits, ask, uniform, []) for uniform in uniforms]


def test_inversion_runs_over_token_ids_in_order():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)  # cumulative: 0.1, 0.5, 0.7, 1
    assert drawn(logits, PLAIN, 0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 0.99) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_temperature():
    logits = np.array([0.0, np.log(3.0)])
    assert drawn(logits, PLAIN, 0.24, 0.26) == [0, 1]  # 1/4, 3/4
    assert drawn(logits, replace(PLAIN, temperature=0.5), 0.09, 0.11) == [0, 1]  # 1/10, 9/10
    assert drawn(logits, replace(PLAIN, temperature=2.0), 0.36, 0.37) == [0, 1]  # 0.366, 0.634


def test_temperature_0_is_the_argmax_and_the_lower_id_of_equals():
    ask = replace(PLAIN, temperature=0.0)
    assert drawn(np.array([1.0, 3.0, 2.0]), ask, 0.0, 0.5, NEAR_ONE) == [1, 1, 1]
    assert drawn(np.array([1.0, 3.0, 3.0]), ask, 0.0, NEAR_ONE) == [1, 1]


def test_top_k():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    two = replace(PLAIN, top_k=2)  # tokens 1 and 3: 4/7, 3/7
    assert drawn(logits, two, 0.0, 0.57, 0.572, NEAR_ONE) == [1, 1, 3, 3]
    assert drawn(logits, replace(PLAIN, top_k=1), 0.0, NEAR_ONE) == [1, 1]
    assert drawn(logits, replace(PLAIN, top_k=3), 0.0, 0.1, NEAR_ONE) == [1, 1, 3]
    assert drawn(logits, replace(PLAIN, top_k=99), 0.05, NEAR_ONE) == [0, 3]
    assert drawn(np.zeros(4), replace(PLAIN, top_k=2), 0.49, 0.51, NEAR_ONE) == [0, 1, 1]  # equals: the lower ids


def test_top_p():
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    most = replace(PLAIN, top_p=0.75)  # 0.4 + 0.3 do not reach it, so token 2 is in: 4/9, 2/9, 3/9
    assert drawn(logits, most, 0.0, 0.44, 0.45, 0.66, 0.67, NEAR_ONE) == [1, 1, 2, 2, 3, 3]
    assert drawn(logits, replace(PLAIN, top_p=0.65), 0.0, 0.57, 0.572, NEAR_ONE) == [1, 1, 3, 3]
    assert drawn(logits, replace(PLAIN, top_p=0.3), 0.0, NEAR_ONE) == [1, 1]
    assert drawn(logits, replace(PLAIN, top_p=0.0), 0.0, NEAR_ONE) == [1, 1]  # one token always stays
    # reached exactly is reached: of four equals, two
    assert drawn(np.zeros(4), replace(PLAIN, top_p=0.5), 0.0, 0.49, 0.51, NEAR_ONE) == [0, 0, 1, 1]


def test_top_p_is_of_what_temperature_and_top_k_have_left():
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    half = replace(PLAIN, top_p=0.5)
    assert drawn(logits, half, NEAR_ONE) == [1]  # 0.4 does not reach 0.5
    assert drawn(logits, replace(half, top_k=2), NEAR_ONE) == [0]  # 4/7 does
    assert drawn(logits, replace(half, temperature=0.5), NEAR_ONE) == [0]  # 16/30 does


@pytest.mark.parametrize(
    ("logits", "seen", "penalty", "best"),
    [
        ([2.0, 1.5], [], 2.0, 0),
        ([2.0, 1.5], [0], 1.0, 0),
        ([2.0, 1.5], [0], 2.0, 1),  # 2 / 2
        ([2.0, 0.9], [0, 0, 0], 2.0, 0),  # once, however often it was seen
        ([-1.0, -1.5], [0], 2.0, 1),  # -1 * 2: a penalty makes a negative logit smaller as well
        ([-1.0, -1.5], [0], 1.4, 0),
        ([-1.0, -1.5], [1], 0.5, 1),  # under 1 it is a reward: -1.5 * 0.5
        ([2.0, 1.5], [1], 0.5, 1),
        ([3.0, 2.9, 2.8], [0, 1], 1.2, 2),
    ],
)
def test_repetition_penalty(logits, seen, penalty, best):
    ask = replace(GREEDY, repetition_penalty=penalty)
    assert sampled(np.array(logits), ask, 0.5, seen) == best


def test_the_penalty_is_over_prompt_and_answer(endless):
    ask = replace(GREEDY, max_new_tokens=6)
    free = one(endless, "hi", ask).token_ids
    strong = replace(ask, repetition_penalty=1e6)
    kept = one(endless, "hi", strong).token_ids
    assert len(set(kept)) == 6  # nothing of the answer again
    assert not set(kept) & set(prompt(endless, "hi"))
    request = endless.text([free[0]])
    assert free[0] in prompt(endless, request)
    assert free[0] not in one(endless, request, strong).token_ids


def test_near_one_falls_on_the_last_token_that_can_be_drawn_and_zero_on_the_first():
    logits = np.array([-np.inf, 0.0, 0.3, 0.1, -np.inf, -2000.0])
    for top_k, top_p in ((0, 1.0), (5, 1.0), (0, 0.9999999), (6, 0.99)):
        ask = replace(PLAIN, top_k=top_k, top_p=top_p)
        assert drawn(logits, ask, 0.0, NEAR_ONE) == [1, 3]


def test_draw_leaves_the_logits_alone():
    logits = np.array([1.0, -1.0, 0.5])
    before = logits.copy()
    for ask in (Ask(), Ask(temperature=0.0), Ask(repetition_penalty=3.0)):
        sampled(logits, ask, 0.5, [0, 1])
        assert (logits == before).all()


def test_frequencies_over_samples_match_the_probabilities():
    """4000 samples of one request: the first uniform of each row, through the whole sampler."""
    logits = np.array([1.0, 0.2, -0.5, 1.4, 0.9, -3.0, 0.0, 1.1])
    ask = Ask(temperature=1.5, top_k=6, top_p=0.9, repetition_penalty=1.3)
    uniforms = [np.random.Generator(np.random.PCG64(row_seed(21, s))).random() for s in range(4000)]
    counts = np.bincount([sampled(logits, ask, u, [3, 2]) for u in uniforms], minlength=8)
    weaker = np.array([1.0, 0.2, -0.5 * 1.3, 1.4 / 1.3, 0.9, -3.0, 0.0, 1.1])
    weights = np.exp(weaker / 1.5)
    weights[[2, 5]] = 0.0  # not among the six best
    weights /= weights.sum()
    weights[6] = 0.0  # the other five reach 0.9 without it
    assert 0.9 <= weights.sum() < 0.9 + weights[1]
    kept = weights > 0
    assert counts[~kept].sum() == 0
    assert chisquare(counts[kept], 4000 * weights[kept] / weights.sum()).pvalue > 0.01


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(2, 300),
    scale=st.sampled_from([0.1, 1.0, 6.0]),
    temperature=st.sampled_from([0.3, 0.8, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 2, 7, 50, 400]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.95, 1.0]),
    penalty=st.sampled_from([0.7, 1.0, 1.1, 2.0]),
)
def test_the_sampler_is_that_of_transformers(seed, size, scale, temperature, top_k, top_p, penalty):
    """Their processors give the probabilities; the same uniforms, inverted over ids, must give the same tokens."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(scale=scale, size=size)
    seen = dice.integers(0, size, size=12).tolist()
    processors = LogitsProcessorList()
    if penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        processors.append(TopPLogitsWarper(top_p))
    scores = processors(torch.tensor([seen]), torch.tensor(logits[None]))
    cumulative = scores.softmax(-1)[0].double().numpy().cumsum()
    ask = Ask(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
    for uniform in dice.random(40):
        # a uniform within rounding of a border may fall on either side of it
        if np.abs(cumulative - uniform * cumulative[-1]).min() > 1e-9:
            expected = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
            assert sampled(logits, ask, uniform, seen) == expected
    greedy = replace(ask, temperature=0.0)
    first = processors[0](torch.tensor([seen]), torch.tensor(logits[None])) if penalty != 1.0 else logits
    assert sampled(logits, greedy, 0.5, seen) == int(first.argmax())
