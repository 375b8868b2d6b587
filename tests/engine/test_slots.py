"""The slots of a conditioning beyond its messages, in the one batch: prefix, contrast, score."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.backbone import PREFIX
from engine.decode import contrasted, decode
from engine.methods.base import Ask, Conditioning, Contrast, Score
from engine.patches import LowRank, Site
from engine.prompt import prompt

GREEDY = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=8)
SAMPLED = Ask(seed=3, max_new_tokens=8)


def told(text: str, **slots: object) -> Conditioning:
    return Conditioning(({"role": "user", "content": text},), **slots)  # type: ignore[arg-type]


# ---- prefix


def test_a_prefix_of_real_embeddings_is_the_same_as_the_words(lm):
    """The soft tokens of "a cat" are the tokens "a cat": embedded by hand or not, the text is the same."""
    plain = told("Tell me of a cat.")
    ids = prompt(lm, plain).ids
    at = next(i for i in range(len(ids)) if lm.text(ids[: i + 1]).endswith("Tell"))
    soft = Conditioning(
        ({"role": "user", "content": f"{PREFIX} me of a cat."},),
        prefix=lm.embed(torch.tensor(ids[at : at + 1])).detach(),
    )
    assert len(prompt(lm, soft)) == len(ids)
    assert torch.equal(prompt(lm, soft).embedded(lm), lm.embed(torch.tensor(ids)))
    assert decode(lm, [(soft, GREEDY)]) == decode(lm, [(plain, GREEDY)])


def test_without_a_marker_the_prefix_stands_before_the_first_user_turn(tiny):
    prefix = torch.zeros(2, tiny.width)
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": "hi"}
    made = prompt(tiny, Conditioning((system, user), prefix=prefix))
    before, after = tiny.tokenizer.decode(made.ids[: made.at]), tiny.tokenizer.decode(made.ids[made.at :])
    assert before.endswith("<|im_start|>user\n")
    assert "Be brief." in before
    assert after.startswith("hi<|im_end|>")
    assert len(made) == len(made.ids) + 2


@pytest.mark.parametrize(
    ("conditioning", "says"),
    [
        (told(f"a{PREFIX}b"), "there is none"),
        (told(f"a{PREFIX}b{PREFIX}", prefix=torch.zeros(1, 32)), "2 times"),
        (told("a", prefix=torch.zeros(1, 31)), "width 31"),
        (told("a", prefix=torch.full((1, 32), float("nan"))), "no numbers"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused(tiny, conditioning, says):
    with pytest.raises(ValueError, match=says):
        decode(tiny, [(conditioning, SAMPLED)])


def test_rows_with_and_without_a_prefix_share_a_batch(lm):
    soft = told("Tell me a joke.", prefix=torch.randn(3, lm.width, generator=torch.Generator().manual_seed(0)))
    requests = [(told("hi"), SAMPLED), (soft, SAMPLED), (told("Tell me a joke."), SAMPLED)]
    together = decode(lm, requests)
    assert [decode(lm, [request])[0] for request in requests] == together
    assert together[1] != together[2]


# ---- patches


def test_a_patched_row_leaves_its_mates_as_they_are(lm):
    dice = torch.Generator().manual_seed(0)
    patch = LowRank(torch.randn(1, 576, 8, generator=dice) * 0.1, torch.randn(1, 8, 576, generator=dice) * 0.1)
    patched = told("Tell me a joke.", patches={lm.projection(4, "q"): (patch,)})
    plain = told("Tell me a joke.")
    together = decode(lm, [(plain, GREEDY), (patched, GREEDY), (plain, SAMPLED)])
    assert together[0] == decode(lm, [(plain, GREEDY)])[0]
    assert together[2] == decode(lm, [(plain, SAMPLED)])[0]
    assert together[1] == decode(lm, [(patched, GREEDY)])[0] != together[0]


# ---- contrast


def test_lambda_nought_is_the_greedy_expert_and_the_amateur_never_comes_back(lm):
    plain, amateur = told("Tell me a joke."), told("hi")
    for ask in (GREEDY, replace(GREEDY, repetition_penalty=1.3)):
        against = replace(plain, contrast=Contrast(amateur, weight=0.0))
        [[first], [second]] = decode(lm, [(against, ask), (plain, ask)])
        assert first == second


def test_a_contrast_is_the_two_models_token_by_token(tiny):
    """The reference: two forward passes over all tokens, no cache, no batch."""
    expert, amateur = told("Tell me a joke about a cat."), told("hi")
    contrast = Contrast(amateur, weight=0.7, plausibility=0.05)
    [[[text]], ask] = [decode(tiny, [(replace(expert, contrast=contrast), GREEDY)]), GREEDY]
    heads = [list(prompt(tiny, conditioning).ids) for conditioning in (expert, amateur)]
    ids: list[int] = []
    for _ in range(ask.max_new_tokens):
        with torch.no_grad():
            logits = [tiny.model(input_ids=torch.tensor([head + ids])).logits[0, -1] for head in heads]
        p, q = (x.double().softmax(-1) for x in logits)
        score = (p.log() - 0.7 * q.log()).masked_fill(p < 0.05 * p.max(), float("-inf"))
        token = int(score.argmax())
        if token in tiny.stop_ids:
            break
        ids.append(token)
    assert list(text.token_ids) == ids


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 20.0])
def test_an_implausible_token_never_comes_back(weight):
    expert = np.log(np.array([0.6, 0.3, 0.08, 0.02]))
    amateur = np.log(np.array([0.7, 0.2999, 0.0001, 1e-12]))  # it would be tempted by the last two
    scores = contrasted(expert, amateur, Contrast(told("x"), weight, plausibility=0.1))
    assert np.isfinite(scores).tolist() == [True, True, True, False]
    assert int(scores.argmax()) == (0 if weight == 0 else 2)


def test_expert_against_itself_keeps_the_order_below_one_and_ties_at_one():
    logits = np.array([1.0, 0.5, 0.9, -1.0])
    below = contrasted(logits, logits, Contrast(told("x"), 0.9))
    assert (np.argsort(below) == np.argsort(logits)).all()
    ties = contrasted(logits, logits, Contrast(told("x"), 1.0))
    assert np.ptp(ties[np.isfinite(ties)]) < 1e-12


# ---- score


def test_the_best_of_n_by_a_score_are_kept_best_first(tiny):
    drawn = decode(tiny, [(told("hi"), replace(SAMPLED, n=6))])[0]
    seen: list[list[str]] = []

    def shorter(texts: list[str]) -> np.ndarray:
        seen.append(list(texts))
        return np.array([-len(text) for text in texts], float)

    best = decode(tiny, [(told("hi", score=Score(shorter, samples=3)), replace(SAMPLED, n=2))])[0]
    assert seen == [[text.text for text in drawn]]
    assert best == sorted(drawn, key=lambda text: len(text.text))[:2]


def test_a_hook_of_a_slot_is_gone_after_an_error(tiny):
    patch = LowRank(torch.zeros(1, 32, 1), torch.zeros(1, 1, 32))
    site = Site("model.layers.0.self_attn.q_proj")

    def fail(*_: object) -> None:
        raise RuntimeError("the page is gone")

    with pytest.raises(RuntimeError, match="the page is gone"):
        decode(tiny, [(told("hi", patches={site: (patch,)}), SAMPLED)], on_text=fail)
    assert not tiny.model.get_submodule(site.module)._forward_hooks
