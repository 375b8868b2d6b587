"""Adapters: LoRA as PEFT has it, alone, in a mixed batch and merged; DPO; contrast; best of n."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.decode import decode
from engine.fitting import beginning, fit, lessons, recipe_for
from engine.learning import facts_of, says, stand_on, state_of, state_path
from engine.losses import dpo
from engine.methods import TAM, Ask, CoPe, LoRA, arm_id
from engine.methods.base import Conditioning, State
from engine.methods.dpo import DPO
from engine.methods.e2p import E2P
from engine.methods.fitted import Fitted
from engine.methods.lora import write_peft
from engine.methods.none import NoProfile
from engine.methods.reranked import Reranked
from engine.methods.summary import Summary
from engine.optimise import Progress, Recipe, TrainError
from engine.patches import attached, together
from engine.plan import Plan
from engine.preference import SAMPLED, dpo_objective, own_pairs, pseudo_negatives
from engine.profile import Profile, build
from engine.reasons import asked_why, drafts
from engine.state import StateError, content, load, save
from engine.train import Example, losses, train

FLOAT32 = Plan("cpu", torch.float32, "none", "for tests")
GREEDY = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=6)
QUICK = Recipe(steps=4, batch=2, accumulate=1, evaluate_every=2, max_target_tokens=16, lr=1e-2)
TINY = LoRA(rank=2, alpha=4)


@pytest.fixture(autouse=True)
def short_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer than what is learned of them, and of the likeliest tokens: nothing sorts the vocabulary for each."""
    asked = replace(SAMPLED, top_k=50, max_new_tokens=QUICK.max_target_tokens)
    monkeypatch.setattr("engine.preference.SAMPLED", asked)


def taught(lm: Backbone, method: LoRA = TINY, seed: int = 0) -> State:
    """As after teaching: nothing in it is zero."""
    dice = torch.Generator().manual_seed(seed)
    born = method.born(lm, np.zeros((1, 384), np.float32))
    return {name: tensor + 0.2 * torch.randn(tensor.shape, generator=dice) for name, tensor in born.items()}


@torch.inference_mode()
def logits(lm: Backbone, told: list[Conditioning], text: str = "Tell me of a cat and a lighthouse.") -> torch.Tensor:
    """(rows, T, V) of one text in a batch, each row with its own patches."""
    ids = torch.tensor([lm.tokens(text)] * len(told))
    with attached(lm.model, [together(lm.base, each.patches) for each in told]):
        return lm.model(input_ids=ids).logits


def fresh(tiny: Backbone) -> Backbone:
    """A copy of the tiny model that may be changed."""
    model = AutoModelForCausalLM.from_config(tiny.model.config, dtype=torch.float32)
    model.load_state_dict(tiny.model.state_dict())
    return Backbone(model, tiny.tokenizer, tiny.name, FLOAT32)


# ---- LoRA


@pytest.mark.parametrize("method", [TINY, LoRA(rank=4, alpha=2, parts="qkvo")], ids=str)
def test_a_row_in_a_mixed_batch_is_the_row_alone_is_pefts(tiny, profile, method, tmp_path):
    state, other = taught(tiny, method), taught(tiny, TINY, seed=1)
    plain, adapted = (m.condition(tiny, profile, s, GREEDY) for m, s in ((NoProfile(), {}), (method, state)))
    stranger = TINY.condition(tiny, profile, other, GREEDY)
    mixed = logits(tiny, [plain, adapted, stranger, plain])
    alone = logits(tiny, [adapted])
    write_peft(tmp_path, tiny, method, state)
    theirs = PeftModel.from_pretrained(fresh(tiny).model, tmp_path)
    with torch.inference_mode():
        right = theirs(input_ids=torch.tensor([tiny.tokens("Tell me of a cat and a lighthouse.")])).logits
    assert torch.allclose(mixed[1:2], alone, atol=1e-4)
    assert torch.allclose(alone, right, atol=1e-4)
    assert torch.allclose(mixed[0], logits(tiny, [plain])[0], atol=1e-5)
    for one, another in ((0, 1), (1, 2), (0, 2)):
        assert not torch.allclose(mixed[one], mixed[another], atol=1e-2)


def test_merged_weights_say_what_patches_say(tiny, profile):
    state = taught(tiny, TAM)
    patched = logits(tiny, [TAM.condition(tiny, profile, state, GREEDY)])
    merged = fresh(tiny)
    before = merged.fingerprint
    merged.adapt(TAM.adapter(merged, state), "jokes")
    plain = NoProfile().condition(merged, profile, {}, GREEDY)
    assert torch.allclose(logits(merged, [plain]), patched, atol=1e-4)
    assert decode(merged, [(plain, GREEDY)]) == decode(tiny, [(TAM.condition(tiny, profile, state, GREEDY), GREEDY)])
    assert Backbone(merged.model, merged.tokenizer, "x", FLOAT32).fingerprint != before
    with pytest.raises(ValueError, match="stands on jokes already"):
        merged.adapt({}, "more")


def test_where_weights_are_quantised_every_row_carries_the_base(tiny, profile):
    state, own = taught(tiny, TAM), taught(tiny, TINY, seed=3)
    base, quantised = fresh(tiny), fresh(tiny)
    base.adapt(TAM.adapter(base, state), "jokes")
    quantised.plan = replace(FLOAT32, quantization="nf4")  # merging is all that it decides here
    quantised.adapt(TAM.adapter(quantised, state), "jokes")
    assert torch.equal(quantised.model.get_submodule(quantised.projection(0, "q").module).weight,
                       tiny.model.get_submodule(tiny.projection(0, "q").module).weight)  # fmt: skip
    for method, learned in ((NoProfile(), {}), (TINY, own)):
        told = [method.condition(lm, profile, learned, GREEDY) for lm in (base, quantised)]
        assert torch.allclose(logits(base, told[:1]), logits(quantised, told[1:]), atol=1e-4)
        assert decode(base, [(told[0], GREEDY)]) == decode(quantised, [(told[1], GREEDY)])
    example = [Example(profile, GREEDY, "the cat sat on the mat")]
    found = [float(losses(lm, says(lm, NoProfile()), {}, example, 16)[0]) for lm in (base, quantised)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_a_new_adapter_is_the_plain_model_and_learns(tiny, profile):
    state = beginning(tiny, TINY, None, profile)
    told = [m.condition(tiny, profile, s, GREEDY) for m, s in ((NoProfile(), {}), (TINY, state))]
    assert torch.equal(*logits(tiny, told))
    out = fit(tiny, TINY, lessons(TINY, profile), state, QUICK)
    assert out.after < out.before
    assert all(not torch.equal(out.state[name], state[name]) for name in state)


def test_one_persons_adapter_learns_from_this_persons_likes_only(tiny, profile, monkeypatch):
    seen = []

    def spy(lm, say, state, examples, held_out, recipe, **more):
        seen.extend([*examples, *held_out])
        return train(lm, say, state, examples, held_out, recipe, **more)

    monkeypatch.setattr("engine.fitting.train", spy)
    fit(tiny, TINY, lessons(TINY, profile), beginning(tiny, TINY, None, profile), QUICK)
    mine = {item.text for item in profile.liked}
    assert {example.target for example in seen} == mine
    assert {example.profile.user for example in seen} == {profile.user}
    assert all(example.target not in {item.text for item in example.profile.items} for example in seen)


def remarked(profile: Profile, picked: int, reasons: int) -> Profile:
    """The same person, with so many of their first likes picked, and so many explained."""
    signals = tuple(
        replace(s, picked=i < picked, note=f"Reason {i}." if i < reasons else "") for i, s in enumerate(profile.signals)
    )
    return replace(profile, signals=signals)


def test_an_adapter_of_the_best_learns_from_what_was_picked_alone(tiny, profile):
    method = LoRA(rank=2, of="picked")
    assert method.lacks(tiny, remarked(profile, 3, 0)) == "pick 2 more of your likes as your best, on the Train page"
    with pytest.raises(TrainError, match="lora cannot be fitted yet: pick 5 more"):
        beginning(tiny, method, None, profile)
    who = remarked(profile, 5, 0)
    assert method.lacks(tiny, who) is None
    given = lessons(method, who)
    best = {item.text for item in profile.liked[:5]}
    assert {example.target for example in (*given.taught, *given.held_out)} == best
    assert {item.text for example in given.taught for item in example.profile.liked} <= best
    told = method.condition(tiny, who, taught(tiny, method), GREEDY)
    assert told.evidence == tuple(item.id for item in profile.liked[:5])


def test_an_adapter_of_reasons_learns_the_same_texts_and_why(tiny, profile):
    method = LoRA(rank=2, of="explained")
    short = "say of 1 more of your likes why you like it, on the Train page"
    assert method.lacks(tiny, remarked(profile, 0, 2)) == short
    who = remarked(profile, 0, 6)
    with_, without = lessons(method, who), lessons(TINY, who)
    assert [e.target for e in with_.held_out] == [e.target for e in without.held_out], "so that both are judged alike"
    texts = [e.target for e in without.taught]
    assert [e.target for e in with_.taught[: len(texts)]] == texts
    reasons = with_.taught[len(texts) :]
    why = {item.text: signal.note for item, signal in zip(who.items, who.signals, strict=True)}
    assert [e.target for e in reasons] == [why[text] for text in texts], "no reason of what is held out"
    assert all(text in e.ask.instruction() for e, text in zip(reasons, texts, strict=True))
    assert {e.target for e in lessons(DPO(method), who).taught} == set(texts), "a reason has nothing it is preferred to"
    out = fit(tiny, method, with_, beginning(tiny, method, None, who), replace(QUICK, steps=8))
    assert out.after < out.before


def test_drafts_of_reasons_are_the_models_own_and_cost_nothing_where_none_is_asked_for(tiny):
    texts = ["A cat walks into a bar.", "My printer and I are no longer on speaking terms."]
    both = drafts(tiny, texts)
    assert [drafts(tiny, [text])[0] for text in texts] == both
    assert drafts(tiny, []) == []
    assert len(asked_why("word " * 4_000).instruction()) < 1_000, "a post may be longer than a model can learn from"


def test_a_text_both_liked_and_disliked_teaches_nothing(tiny):
    def reactions(*signs: tuple[str, int]) -> Profile:
        return build("torn", [(Item("t", str(i), "joke", text), Signal(f"t:{i}", sign))
                              for i, (text, sign) in enumerate(signs)], topics=False)  # fmt: skip

    who = reactions(("one", 1), ("two", 1), ("three", 1), ("two", -1), ("four", -1))
    given = lessons(TINY, who)
    assert {example.target for example in (*given.taught, *given.held_out)} == {"one", "three"}
    assert given.disliked == ["four"]
    assert all("two" not in {i.text for i in example.profile.items} for example in given.taught)
    with pytest.raises(TrainError, match=r"at least two likes .*; 2 were both liked and disliked"):
        lessons(TINY, reactions(("one", 1), ("two", 1), ("three", 1), ("two", -1), ("one", -1)))


@pytest.mark.parametrize(("method", "places"), [(TINY, (1, 2, 4)), (DPO(TINY, beta=0.5), (2,))], ids=["lora", "dpo"])
def test_a_fit_broken_off_anywhere_ends_as_if_it_never_was(tiny, profile, tmp_path, method, places):
    before, given = taught(tiny), lessons(method, profile)
    recipe = replace(QUICK, steps=4, evaluate_every=1)
    whole = fit(tiny, method, given, before, recipe)

    def break_off(at: int) -> Callable[[Progress], None]:
        def on_progress(progress: Progress) -> None:
            if progress.step == at:
                raise KeyboardInterrupt

        return on_progress

    for at in places:
        path = tmp_path / f"{at}.checkpoint"
        with pytest.raises(KeyboardInterrupt):
            fit(tiny, method, given, before, recipe, checkpoint=path, on_progress=break_off(at))
        again = fit(tiny, method, given, before, recipe, checkpoint=path)
        assert [row[0] for row in again.curve] == [0, 1, 2, 3, 4]
        assert all(torch.equal(again.state[name], whole.state[name]) for name in whole.state)
        assert not path.exists()


def test_a_run_is_named_by_all_it_learns_from(tiny, profile):
    before, given = taught(tiny), lessons(TINY, profile)
    assert lessons(TINY, profile).run(before) == given.run(before)
    others = [
        given.run(taught(tiny, seed=1)),
        lessons(TINY, profile, seed=1).run(before),
        replace(given, disliked=[]).run(before),
        lessons(LoRA(rank=2, of="explained"), remarked(profile, 0, 6)).run(before),
        lessons(LoRA(rank=2, of="explained"), remarked(profile, 0, 3)).run(before),
    ]
    assert len({given.run(before), *others}) == 6


def test_fitting_b_after_a_is_fitting_b(tiny, profile):
    other = replace(profile, user="b", items=tuple(replace(i, text=f"{i.text} Truly.") for i in profile.items))

    def fitted(who: Profile) -> State:
        return fit(tiny, TINY, lessons(TINY, who), beginning(tiny, TINY, None, who), QUICK).state

    alone = fitted(other)
    fitted(profile)
    again = fitted(other)
    assert all(torch.equal(alone[name], again[name]) for name in alone)


def test_a_state_over_another_base_or_rank_is_refused(tiny, profile, tmp_path):
    based = fresh(tiny)
    based.adapt(TAM.adapter(based, taught(tiny, TAM)), "jokes")
    path = tmp_path / "state.safetensors"
    save(path, taught(based), facts_of(based, TINY))
    with pytest.raises(StateError, match=r"another base \(jokes, here none\)"):
        load(path, facts_of(tiny, TINY))
    with pytest.raises(StateError, match="another arm"):
        load(path, facts_of(based, LoRA(rank=4)))
    assert state_path(tiny, TINY, tmp_path, "me") != state_path(based, TINY, tmp_path, "me")
    assert load(path, facts_of(based, TINY)).keys() == taught(tiny).keys()


@pytest.mark.parametrize(("method", "sentence"), [
    (DPO(TINY), "dpo goes on from lora, of which there is nothing yet for tiny-random: fit it first"),
    (E2P(), "e2p is not fitted to one person: use fitted, lora, dpo"),
    (CoPe(), "cope is not fitted to one person"),
    (Fitted(E2P(tokens=7)), "learned from a population first"),
])  # fmt: skip
def test_what_cannot_be_fitted_says_why(tiny, profile, tmp_path, method, sentence):
    with pytest.raises(TrainError, match=sentence):
        beginning(tiny, method, tmp_path, profile)


@pytest.mark.parametrize("texts", [[], ["one"], ["the same"] * 6])
def test_too_few_likes_or_all_the_same_are_refused(tiny, texts):
    reactions = [(Item("t", str(i), "joke", text), Signal(f"t:{i}", 1)) for i, text in enumerate(texts)]
    who = build("few", reactions, topics=False)
    with pytest.raises(TrainError, match="likes"):
        fit(tiny, TINY, lessons(TINY, who), beginning(tiny, TINY, None, who), QUICK)


def test_the_base_that_lies_in_the_data_folder_is_put_under_all_once(tiny, tmp_path, monkeypatch):
    state = taught(tiny, TAM)
    stand_on(tiny, tmp_path)
    assert tiny.base_name == "", "there is none"
    save(state_path(tiny, TAM, tmp_path, ""), state, facts_of(tiny, TAM))
    based = fresh(tiny)
    stand_on(based, tmp_path)
    assert based.base_name == f"{arm_id(TAM)}:{content(state)[:8]}"
    assert based.base_name in based.describe()
    before = based.fingerprint
    stand_on(based, tmp_path)
    assert based.fingerprint == before
    monkeypatch.setattr("engine.encoder.NAME", "another-encoder")
    seen_otherwise = fresh(tiny)
    stand_on(seen_otherwise, tmp_path)
    assert seen_otherwise.base_name == based.base_name, "whatever encoder sees the likes"
    shipped = {name: tensor.bfloat16().float() for name, tensor in state.items()}
    assert content(shipped) == content(state), "as it was learned and as it is shipped"
    assert content(taught(tiny, TAM, seed=1)) != content(state)


# ---- DPO


def test_the_dpo_loss_and_its_gradient_by_hand():
    policy = torch.tensor([[-3.0, -5.0], [-2.0, -1.0]], requires_grad=True)  # chosen, rejected
    reference = torch.tensor([[-4.0, -4.0], [-2.0, -1.0]])
    loss = dpo(policy[:, 0], policy[:, 1], reference[:, 0], reference[:, 1], beta=0.5)
    assert loss.tolist() == pytest.approx([math.log(1 + math.exp(-1.0)), math.log(2)])
    loss.sum().backward()
    share = 0.5 / (1 + math.exp(1.0))  # beta sigma(-beta margin)
    assert policy.grad.flatten().tolist() == pytest.approx([-share, share, -0.25, 0.25])


def test_dpo_begins_at_ln_2_where_its_reference_is_what_it_begins_as(tiny, profile):
    say, state = says(tiny, TINY), taught(tiny)
    pair = [Example(profile, GREEDY, "the cat sat", rejected="a form in three copies")]
    begins, _ = dpo_objective(say, state, 0.3)(tiny, say, state, pair, 16)
    assert float(begins) == pytest.approx(math.log(2), abs=1e-5)
    based, weight = dpo_objective(says(tiny, NoProfile()), {}, 0.3)(tiny, say, state, pair, 16)
    assert float(weight) == 1
    chosen, rejected = (
        losses(tiny, say, state, [replace(pair[0], target=t)], 16)[0] * -n
        - losses(tiny, says(tiny, NoProfile()), {}, [replace(pair[0], target=t)], 16)[0] * -n
        for t in ("the cat sat", "a form in three copies")
        for n in [len(tiny.tokens(t)) + len(tiny.end_of_turn)]
    )
    assert float(based) == pytest.approx(math.log(1 + math.exp(-0.3 * float(chosen - rejected))), abs=1e-4)


def test_dpo_lowers_its_loss_and_goes_on_from_the_adapter(tiny, profile, tmp_path):
    method = DPO(TINY, beta=0.5)
    save(state_path(tiny, TINY, tmp_path, profile.user), taught(tiny), facts_of(tiny, TINY))
    before = beginning(tiny, method, tmp_path, profile)
    assert all(torch.equal(before[name], tensor) for name, tensor in taught(tiny).items())
    out = fit(tiny, method, lessons(method, profile), before, replace(QUICK, steps=8))
    assert out.before == pytest.approx(math.log(2), abs=1e-4)
    assert out.after < out.before


def test_negatives_are_the_least_personal_of_three_or_the_most(tiny, profile):
    base, user, state = says(tiny, NoProfile()), says(tiny, TINY), taught(tiny)
    made = [Example(profile, Ask(payload=topic, max_new_tokens=6), "liked") for topic in ("cats", "tax", "trains")]

    def reward(example: Example) -> float:
        of = [replace(example, target=example.rejected)]
        return float(losses(tiny, base, {}, of, 16)[0] - losses(tiny, user, state, of, 16)[0])

    least, most = (pseudo_negatives(tiny, base, user, state, made, QUICK, mode) for mode in ("max", "min"))
    assert [pair.target for pair in least] == ["liked"] * 3
    assert all(reward(a) <= reward(b) for a, b in zip(least, most, strict=True))
    assert any(reward(a) < reward(b) for a, b in zip(least, most, strict=True))
    assert [p.rejected for p in pseudo_negatives(tiny, base, user, state, made, QUICK)] == [p.rejected for p in least]


def test_own_pairs_put_likes_before_dislikes(profile):
    made = [Example(profile, GREEDY, item.text) for item in profile.liked]
    [pair] = own_pairs(made, [item.text for item in profile.disliked], 0)
    assert (pair.target, pair.rejected) == (profile.liked[0].text, profile.disliked[0].text)


# ---- contrast and best of n


def test_cope_with_lambda_0_is_its_greedy_expert_and_equal_rivals_are_too(tiny, profile):
    state = taught(tiny)
    expert = decode(tiny, [(TINY.condition(tiny, profile, state, GREEDY), GREEDY)])
    for method in (CoPe(TINY, weight=0.0), CoPe(TINY, amateur=NoProfile("comedian"), weight=0.0)):
        assert decode(tiny, [(method.condition(tiny, profile, state, GREEDY), GREEDY)]) == expert
    same = CoPe(NoProfile(), weight=0.7)
    floor = decode(tiny, [(NoProfile().condition(tiny, profile, {}, GREEDY), GREEDY)])
    assert decode(tiny, [(same.condition(tiny, profile, {}, GREEDY), GREEDY)]) == floor
    heavy = CoPe(TINY, weight=3.0)
    assert decode(tiny, [(heavy.condition(tiny, profile, state, GREEDY), GREEDY)]) != expert


def test_cope_takes_any_expert(tiny, profile):
    for expert in (LoRA(), DPO(), E2P(), Summary()):
        method = CoPe(expert)
        assert (method.learned_as, method.personal) == (expert, expert.personal)
        state = method.born(tiny, profile.vectors)
        told = method.condition(tiny, profile, state, GREEDY)
        assert told.contrast.amateur.messages == NoProfile().condition(tiny, profile, {}, GREEDY).messages
        assert decode(tiny, [(told, GREEDY)])


def test_the_kept_of_several_tries_is_the_nearest_to_the_taste(tiny, profile):
    method = Reranked(samples=5)
    told = method.condition(tiny, profile, {}, replace(GREEDY, temperature=1.0))
    ask = replace(GREEDY, temperature=1.0, n=1)
    [[kept]] = decode(tiny, [(told, ask)])
    [drawn] = decode(tiny, [(replace(told, score=None), replace(ask, n=5))])
    scores = told.score.of([text.text for text in drawn])
    assert kept == drawn[int(scores.argmax())]
    assert len({text.text for text in drawn}) > 1
    near, far = told.score.of([profile.liked[0].text, profile.disliked[0].text])
    assert near > far


# ---- where they are kept


def test_adapters_of_many_people_lie_apart_and_rows_of_one_batch_carry_them(tiny, profile, tmp_path):
    people = [replace(profile, user=f"p{n}") for n in range(4)]
    for n, who in enumerate(people):
        save(state_path(tiny, TINY, tmp_path, who.user), taught(tiny, TINY, seed=n), facts_of(tiny, TINY))
    told = [TINY.condition(tiny, who, state_of(tiny, TINY, tmp_path, who.user), GREEDY) for who in people]
    together_ = decode(tiny, [(one, GREEDY) for one in told])
    assert together_ == [decode(tiny, [(one, GREEDY)])[0] for one in told]
    assert len({texts[0].text for texts in together_}) > 1


def test_a_fit_of_two_epochs_has_so_many_steps():
    assert recipe_for(TINY, 40).steps == 20
    assert recipe_for(TINY, 4).steps == 4
    assert recipe_for(Fitted(), 40).steps == 60


# ---- in 4 bits


@pytest.fixture(scope="module")
def quantised_folder(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with biases, as Qwen2 has them, wide enough to be packed."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tiny.tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, eos_token_id=tiny.tokenizer.eos_token_id, initializer_range=0.2,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("quantised")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


def test_in_4_bits_an_adapter_learns_after_the_model_has_written(quantised_folder, profile):
    """bitsandbytes packs the weights when it first writes; no gradient comes through what it packed."""
    written, fresh_ = (Backbone.load(str(quantised_folder), "nf4") for _ in range(2))
    named, told = written.fingerprint, [(NoProfile().condition(written, profile, {}, GREEDY), GREEDY)]
    before = decode(written, told)
    layers = [layer for layer in written.model.modules() if isinstance(layer, Linear4bit)]
    if not layers[0].support_avx512bf16_for_cpu:
        pytest.skip("this CPU has no bfloat16 units: nothing is packed")
    assert all(layer.weight.quant_state.packing_format_for_cpu for layer in layers)
    given, start = lessons(TINY, profile), taught(written)
    outs = [fit(lm, TINY, given, start, replace(QUICK, steps=8)) for lm in (written, fresh_)]
    for out in outs:
        assert out.after < out.before
        assert all(not torch.equal(out.state[name], start[name]) for name in start), "in every layer"
    moved, same = (torch.cat([(out.state[n] - start[n]).flatten() for n in start]) for out in outs)
    assert float(torch.cosine_similarity(moved, same, dim=0)) > 0.95, "but for scales rounded to bfloat16"
    assert decode(written, told) == before
    assert written.fingerprint == named
    refined = fit(written, DPO(TINY), lessons(DPO(TINY), profile), start, replace(QUICK, steps=1))
    assert refined.before == pytest.approx(math.log(2), abs=1e-6), "policy and reference in the same arithmetic"


def test_in_4_bits_every_row_carries_the_base(quantised_folder, profile):
    plain, based = (Backbone.load(str(quantised_folder), "nf4") for _ in range(2))
    state = taught(plain, TAM)
    named = based.fingerprint
    based.adapt(TAM.adapter(based, state), "jokes")
    assert based.fingerprint != named
    carried = decode(based, [(NoProfile().condition(based, profile, {}, GREEDY), GREEDY)])
    assert carried == decode(plain, [(TAM.condition(plain, profile, state, GREEDY), GREEDY)])
    assert carried != decode(plain, [(NoProfile().condition(plain, profile, {}, GREEDY), GREEDY)])
    own = fit(based, TINY, lessons(TINY, profile), beginning(based, TINY, None, profile), replace(QUICK, steps=8))
    assert own.after < own.before


def test_in_4_bits_a_step_of_many_rows_does_not_copy_the_head_for_each(quantised_folder, monkeypatch):
    """10.5 s a step and 0.47 GB a row with 1.5 billion parameters, before the head's input had no gaps."""
    lm, rows = Backbone.load(str(quantised_folder), "nf4"), 8
    told = [(NoProfile().condition(lm, Profile("me"), {}, GREEDY), GREEDY)] * rows
    head = lm.model.get_output_embeddings().weight
    step, seen = lm.step, []

    def profiled(*given):  # a profiler sees its own thread alone, and rows are written in another
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as one:
            logits = step(*given)
        seen.extend(event.self_cpu_memory_usage for event in one.events())
        return logits

    monkeypatch.setattr(lm, "step", profiled)
    decode(lm, told)
    assert 0 < max(seen) < rows * head.numel() * head.itemsize / 2
