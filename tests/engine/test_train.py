"""The one trainer, on the tiny model: what it computes, when it ends, what it keeps."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from collectors.item import Item, Signal
from engine.fitting import fit, lessons
from engine.learning import says
from engine.methods.base import Ask, Conditioning, State
from engine.methods.cross_attention import CrossAttention
from engine.methods.e2p import E2P
from engine.methods.persoma import Persoma
from engine.methods.topics import Topics
from engine.optimise import Recipe, TrainError, write_curve
from engine.profile import Profile, build
from engine.prompt import prompt
from engine.train import Example, common, evaluate, losses, target_ids, train, wrong_users

QUICK = Recipe(steps=6, batch=2, accumulate=2, evaluate_every=2, max_target_tokens=24)
TASTES = {"cats": np.eye(384, dtype=np.float32)[0], "tax": np.eye(384, dtype=np.float32)[1]}
LEARNED = [E2P(), E2P(tokens=3), E2P(aware=True), Topics(), Topics(of="posts"), Persoma(), Persoma("perceiver"),
           CrossAttention(blocks=2, inner=16)]  # fmt: skip
each_learned = pytest.mark.parametrize("method", LEARNED, ids=str)


def person(name: str, taste: str, dice: np.random.Generator) -> Profile:
    """Likes near one of two directions; the texts do not matter, the vectors do."""

    def near(texts: list[str]) -> np.ndarray:
        vectors = TASTES[taste] + 0.02 * dice.normal(size=(len(texts), 384))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    reactions = [(Item("made", f"{name}{i}", "joke", f"{name} {i}"), Signal(f"made:{name}{i}", 1)) for i in range(6)]
    return build(name, reactions, encode=near, topics=False)


@pytest.fixture(scope="module")
def two_tastes() -> list[Example]:
    """Who likes cats wants one sentence, who likes tax another; the request is the same, only the profile tells."""
    dice = np.random.default_rng(0)
    wanted = {"cats": "the cat sat on the mat", "tax": "a form in three copies"}
    return [
        Example(person(f"{taste}{n}", taste, dice), Ask(), wanted[taste]) for n in range(6) for taste in ("cats", "tax")
    ]


def born(lm, method) -> State:
    vectors = np.random.default_rng(1).normal(size=(200, 384)).astype(np.float32)
    return method.born(lm, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


# ---- the loss


def test_the_loss_is_that_of_the_whole_sequence_with_a_mask_by_token_ids(lm, two_tastes):
    """The reference builds all logits of each example alone and reads those before the target's tokens."""
    method = E2P()
    state, say = born(lm, method), says(lm, method)
    found, counts = losses(lm, say, state, two_tastes[:3], 24)
    for example, loss, count in zip(two_tastes, found, counts, strict=False):
        told = prompt(lm, say(example.profile, state, example.ask))
        target = [*lm.tokens(example.target), *lm.end_of_turn]
        assert lm.tokenizer.decode(target).endswith("<|im_end|>")
        inputs = torch.cat([told.embedded(lm), lm.embed(torch.tensor(target))])
        with torch.no_grad():
            logits = lm.model(inputs_embeds=inputs[None]).logits[0].log_softmax(-1)
        expected = -logits[len(told) - 1 : -1].gather(1, torch.tensor(target)[:, None]).mean()
        assert float(loss) == pytest.approx(float(expected), abs=1e-4)
        assert int(count) == len(target)


def test_gradients_are_those_of_the_stock_loss(lm, two_tastes):
    """The library's own labels loss over all positions, in float32: the same gradients to 1e-4."""
    method = E2P()
    live = {name: tensor.requires_grad_() for name, tensor in born(lm, method).items()}
    say = says(lm, replace(method, dropout=0.0))
    example = two_tastes[0]
    losses(lm, say, live, [example], 24)[0].sum().backward()
    ours = {name: tensor.grad.clone() for name, tensor in live.items()}
    for tensor in live.values():
        tensor.grad = None
    told, target = prompt(lm, say(example.profile, live, example.ask)), target_ids(lm, example, 24)
    inputs = torch.cat([told.embedded(lm), lm.embed(torch.tensor(target))])
    labels = torch.tensor([-100] * len(told) + list(target))
    lm.model(inputs_embeds=inputs[None], labels=labels[None]).loss.backward()
    for name, tensor in live.items():
        assert torch.allclose(ours[name], tensor.grad, atol=1e-4 * float(tensor.grad.abs().max() + 1e-6)), name


def test_what_all_rows_begin_with_is_read_once_and_changes_nothing(lm, two_tastes, monkeypatch):
    """The tokens before the soft ones: the same loss and the same gradients as with every row read whole."""
    method, found = E2P(dropout=0.0), {}
    told = [prompt(lm, method.condition(lm, e.profile, born(lm, method), e.ask)) for e in two_tastes[:3]]
    assert 10 < common(told) == told[0].at, "the template, up to the soft token"
    assert common([prompt(lm, Conditioning(({"role": "user", "content": x},))) for x in ("a b", "a c")]) > common(told)
    for whole in (False, True):
        if whole:
            monkeypatch.setattr("engine.train.common", lambda _: 0)
        live = {name: tensor.requires_grad_() for name, tensor in born(lm, method).items()}
        loss, _ = losses(lm, says(lm, method), live, two_tastes[:3], 24)
        loss.sum().backward()
        found[whole] = [loss.detach(), *(tensor.grad for tensor in live.values())]
    for once, each in zip(found[False], found[True], strict=True):
        assert torch.allclose(once, each, atol=1e-4 * float(each.abs().max()))


def test_a_text_that_was_cut_does_not_end_its_turn_there(tiny, two_tastes):
    whole = target_ids(tiny, two_tastes[0], 100)
    assert whole[-1] in tiny.stop_ids
    cut = target_ids(tiny, two_tastes[0], 4)
    assert cut == whole[:4]
    assert cut[-1] not in tiny.stop_ids


def test_micro_batches_and_accumulation_give_the_same_run(tiny, two_tastes):
    method = replace(E2P(), dropout=0.0)
    curves = []
    for batch, accumulate in ((1, 4), (4, 1), (2, 2)):
        recipe = replace(QUICK, batch=batch, accumulate=accumulate)
        out = train(tiny, says(tiny, method), born(tiny, method), two_tastes, two_tastes[:4], recipe)
        curves.append([loss for _, loss, _ in out.curve[1:]])
    assert np.allclose(curves[0], curves[1], atol=1e-4)
    assert np.allclose(curves[0], curves[2], atol=1e-4)


# ---- what is learned


@each_learned
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learning_lowers_the_loss_for_the_right_person_and_not_for_a_wrong_one(tiny, two_tastes, method, seed):
    train_on, held_out = two_tastes[:8], two_tastes[8:]
    swapped = [replace(a, profile=b.profile) for a, b in zip(held_out, [*held_out[1:], held_out[0]], strict=True)]
    recipe = replace(QUICK, steps=60, batch=4, accumulate=1, lr=1e-2, evaluate_every=20, seed=seed)
    start = born(tiny, method)
    out = train(tiny, says(tiny, method), start, train_on, held_out, recipe)
    right, wrong = (evaluate(tiny, says(tiny, method), out.state, some, recipe) for some in (held_out, swapped))
    assert right == pytest.approx(out.after, abs=1e-4)
    assert right < out.before - 0.1
    assert right < wrong - 0.1, "the profile of somebody else does worse"


def test_at_birth_gated_blocks_are_the_plain_model_bit_for_bit_and_their_gates_can_move(lm, two_tastes, monkeypatch):
    monkeypatch.setattr("engine.train.common", lambda _: 0)  # the plain rows are read whole, as patched ones are
    method = CrossAttention()
    live = {name: tensor.requires_grad_() for name, tensor in born(lm, method).items()}
    found, _ = losses(lm, says(lm, method), live, two_tastes[:2], 24)
    plain, _ = losses(lm, lambda p, s, a: Conditioning(({"role": "user", "content": a.instruction()},)), {},
                      two_tastes[:2], 24)  # fmt: skip
    assert torch.equal(found, plain)
    found.sum().backward()
    gates = [name for name in live if "gate" in name]
    assert len(gates) == 10
    assert all(float(live[name].grad.abs()) > 0 for name in gates)


def test_numbers_of_parameters_are_those_of_the_paper_and_of_the_shipped_size(lm):
    counts = {m: sum(t.numel() for t in born(lm, m).values()) for m in (E2P(), E2P(tokens=5), Persoma("perceiver"))}
    assert counts[E2P()] == 462_816
    assert counts[E2P(tokens=5)] == 5_334_624
    assert counts[Persoma("perceiver")] <= 2_000_000


def test_the_backbone_learns_nothing(tiny, two_tastes):
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    method = CrossAttention(blocks=2, inner=16)
    train(tiny, says(tiny, method), born(tiny, method), two_tastes, two_tastes[:2], QUICK)
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny.model.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in tiny.model.parameters())
    assert not any(module._forward_hooks for module in tiny.model.modules())


# ---- when it ends, and what stays


def run(tiny, two_tastes, recipe: Recipe, **more: object):
    method = E2P()
    return train(tiny, says(tiny, method), born(tiny, method), two_tastes, two_tastes[:4], recipe, **more)


def test_a_killed_run_goes_on_where_it_was(tiny, two_tastes, tmp_path):
    whole = run(tiny, two_tastes, QUICK)
    path = tmp_path / "run.checkpoint"

    def killed(progress) -> None:
        if progress.step == 5:  # the last checkpoint is of step 4
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny, two_tastes, QUICK, checkpoint=path, on_progress=killed)
    assert path.exists()
    resumed = run(tiny, two_tastes, QUICK, checkpoint=path)
    assert [round(loss, 5) for _, loss, _ in resumed.curve[1:]] == [round(loss, 5) for _, loss, _ in whole.curve[1:]]
    assert all(torch.allclose(resumed.state[name], whole.state[name], atol=1e-6) for name in whole.state)
    assert not path.exists(), "a run that is over needs no checkpoint"


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tiny, two_tastes, tmp_path):
    path = tmp_path / "run.checkpoint"
    run(tiny, two_tastes, QUICK, checkpoint=path, stopped=lambda: True)
    with pytest.raises(TrainError, match="another recipe"):
        run(tiny, two_tastes, replace(QUICK, lr=0.5), checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainError, match="delete it"):
        run(tiny, two_tastes, QUICK, checkpoint=path)


@pytest.mark.parametrize(
    ("recipe", "stopped", "ended", "last"),
    [
        (QUICK, lambda: False, "all steps done", 6),
        (QUICK, lambda: True, "stopped", 1),
        (replace(QUICK, seconds=0.0), lambda: False, "time is up", 1),
        (replace(QUICK, steps=40, lr=0.0, patience=2), lambda: False, "no better for a while", 4),
    ],
)
def test_it_says_why_it_ended(tiny, two_tastes, recipe: Recipe, stopped: Callable[[], bool], ended: str, last: int):
    told = []
    out = run(tiny, two_tastes, recipe, stopped=stopped, on_progress=told.append)
    assert out.ended == ended
    assert out.curve[-1][0] == told[-1].step == last
    assert told[-1].held_out is not None
    assert out.after <= out.before


def test_the_best_state_is_kept_and_not_the_last(tiny, two_tastes):
    out = run(tiny, two_tastes, replace(QUICK, lr=30.0, clip=1e9, steps=6, evaluate_every=1, patience=99))
    held_out = [value for _, _, value in out.curve if not np.isnan(value)]
    assert out.after == pytest.approx(min(held_out))
    assert evaluate(tiny, says(tiny, E2P()), out.state, two_tastes[:4], QUICK) == pytest.approx(out.after, abs=1e-4)


def test_a_loss_that_is_no_number_ends_in_a_sentence(tiny, two_tastes):
    for lr in (1e20, 1e30):  # the prefix is no number any more, or the loss
        with pytest.raises(TrainError, match="--lr"):
            run(tiny, two_tastes, replace(QUICK, lr=lr, clip=1e30))


def test_memory_that_does_not_suffice_ends_in_a_sentence(tiny, two_tastes):
    def say(*_: object) -> Conditioning:
        raise torch.OutOfMemoryError("no")

    with pytest.raises(TrainError, match="--batch"):
        train(tiny, say, born(tiny, E2P()), two_tastes, two_tastes[:2], QUICK)


def test_nothing_to_learn_from_is_said(tiny, two_tastes):
    with pytest.raises(TrainError, match="at least two likes"):
        run(tiny, [], QUICK)
    with pytest.raises(TrainError, match="nothing to learn"):
        train(tiny, says(tiny, E2P()), {}, two_tastes, two_tastes, QUICK)
    alone = person("alone", "cats", np.random.default_rng(0))
    for likes in (0, 1):
        few = replace(alone, items=alone.items[:likes], signals=alone.signals[:likes], vectors=alone.vectors[:likes])
        with pytest.raises(TrainError, match="at least two likes"):
            fit(tiny, E2P(), lessons(E2P(), few), born(tiny, E2P()), QUICK)


def test_a_fit_does_not_depend_on_whose_came_before(tiny):
    dice = np.random.default_rng(3)
    one, two = person("one", "cats", dice), person("two", "tax", dice)
    shared = born(tiny, E2P())
    kept = {name: tensor.clone() for name, tensor in shared.items()}
    first = fit(tiny, E2P(), lessons(E2P(), two), shared, QUICK)
    fit(tiny, E2P(), lessons(E2P(), one), shared, QUICK)
    again = fit(tiny, E2P(), lessons(E2P(), two), shared, QUICK)
    assert all(torch.equal(first.state[name], again.state[name]) for name in shared)
    assert all(torch.equal(shared[name], kept[name]) for name in shared)


def test_wrong_users_are_others_and_keep_request_and_target(two_tastes):
    wrong = wrong_users(two_tastes)
    for example, other in zip(two_tastes, wrong, strict=True):
        assert other.profile.user != example.profile.user
        assert (other.ask, other.target) == (example.ask, example.target)
    with pytest.raises(ValueError, match="two people"):
        wrong_users(two_tastes[:1])


def test_the_curve_is_a_table(tmp_path: Path):
    write_curve(tmp_path / "deep" / "curve.csv", [(0, float("nan"), 3.5), (1, 3.25, float("nan"))])
    assert (tmp_path / "deep" / "curve.csv").read_text().splitlines() == [
        "step,loss,held_out",
        "0,nan,3.5",
        "1,3.25,nan",
    ]
