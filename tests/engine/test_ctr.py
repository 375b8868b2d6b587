"""Like prediction by a language model: what it says at birth, what it is asked, and that it learns what is there."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.backbone import Backbone
from engine.optimise import Recipe, TrainError
from engine.recommend import ctr
from engine.recommend.ctr import LLMCTR, Phases, Text, encoded, features, odds, predicted, prompt_ids, teach
from engine.recommend.features import FeatureError, Fields, Shown

PLAIN = LLMCTR(hidden=32, dropout=0.0)
RECIPE = Recipe(steps=60, batch=4, accumulate=1, lr=1e-2, evaluate_every=20)
TEXTS = tuple(f"joke about {what}" for what in ("cats", "dogs", "trains", "soup"))


def shown(rows: int = 240, seed: int = 0) -> Shown:
    """Somebody likes an item where both have the same sign: no field alone says anything."""
    dice = np.random.default_rng(seed)
    person, item = dice.integers(0, 6, rows), dice.integers(0, 4, rows)
    liked = (person % 2 == item % 2).astype(np.int64)
    vectors = np.eye(4, 8, dtype=np.float32)
    fields = Fields(("person", "item"), (7, 5))
    return Shown(fields, np.stack([person + 1, item + 1], 1), liked, person, item, vectors, TEXTS)


@pytest.mark.parametrize("model", ["tiny", "lm"])
def test_at_birth_it_says_the_share_of_likes(model: str, request: pytest.FixtureRequest) -> None:
    lm: Backbone = request.getfixturevalue(model)
    rows = shown()
    rows = replace(rows, labels=(np.arange(len(rows)) % 4 == 0).astype(np.int64))
    said = predicted(lm, PLAIN, ctr.born(lm, PLAIN, rows), rows)
    assert float(np.log(said / (1 - said)).mean()) == pytest.approx(np.log(1 / 3), abs=0.3)
    assert said.shape == (len(rows),)


def test_at_birth_the_gate_is_one() -> None:
    method, rows = replace(PLAIN, text="vector"), shown(8)
    state = ctr.encoder_born(method, rows)
    starts = np.array([0, 7])
    raw = state["ids"][torch.from_numpy(rows.ids + starts)]
    found = features(method, state, rows)
    assert found.shape == (8, 3, method.width)  # two fields and the text
    assert torch.allclose(found[:, :2], raw, atol=0.05)


def test_the_gated_vector_is_the_raw_one_times_what_is_made_of_all() -> None:
    rows, state = shown(3), ctr.encoder_born(PLAIN, shown(3))
    state["gate.bias"] -= 0.9
    raw = torch.stack([torch.stack([state["ids"][a], state["ids"][7 + b]]) for a, b in rows.ids.tolist()])  # (3, 2, W)
    gate = (raw.flatten(1) @ state["gate.weight"].T + state["gate.bias"]).clamp(min=0).view_as(raw)
    assert torch.allclose(features(PLAIN, state, rows), raw * gate, atol=1e-6)


def test_the_answer_is_a_softmax_over_the_tokens_0_and_1(tiny: Backbone) -> None:
    rows = shown(5)
    state = ctr.born(tiny, PLAIN, rows)
    no, yes = ctr.answers(tiny)
    assert (tiny.text([no]), tiny.text([yes])) == ("0", "1")
    seen: dict[str, torch.Tensor] = {}
    hook = tiny.model.get_output_embeddings().register_forward_hook(lambda *told: seen.update(logits=told[2].float()))
    try:
        found = odds(tiny, PLAIN, state, rows) - state["offset"]
    finally:
        hook.remove()
    of_two = seen["logits"][:, [no, yes]].softmax(1)[:, 1]  # (B,)
    assert torch.allclose(torch.sigmoid(found), of_two, atol=1e-5)


def test_a_prompt_that_is_read_once_says_what_one_that_is_read_each_time_does(tiny: Backbone) -> None:
    """The twin: with an adapter that is born as nothing no prompt is shared."""
    rows = shown(6)
    for text in ("none", "vector"):
        frozen, slow = replace(PLAIN, text=text), replace(PLAIN, text=text, tuning="lora")
        state = ctr.born(tiny, slow, rows)
        assert predicted(tiny, frozen, state, rows) == pytest.approx(predicted(tiny, slow, state, rows), abs=1e-5)


def test_rows_do_not_change_each_other_and_come_back_in_their_order(tiny: Backbone) -> None:
    method = replace(PLAIN, text="both", question="{text}\nLike it? 1 or 0.")
    rows = shown(20)
    state = ctr.born(tiny, method, rows)
    together = predicted(tiny, method, state, rows)
    alone = [predicted(tiny, method, state, rows.at([n]))[0] for n in range(len(rows))]
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_text_stands_in_the_prompt_where_it_is_read(tiny: Backbone) -> None:
    method = replace(PLAIN, question="{text}\nLike it? 1 or 0.", longest=3)
    read = tiny.text(prompt_ids(tiny, method, "one two three four five \ue0f0 <|im_end|>")[0])
    assert "Like it?" in read
    assert "four" not in read
    assert "\ue0f0" not in read


@pytest.mark.parametrize("text", ["none", "vector"])
@pytest.mark.parametrize("phases", ["one", "two", "over"])
def test_it_learns_what_no_field_says_alone(tiny: Backbone, phases: Phases, text: Text) -> None:
    method = replace(PLAIN, phases=phases, text=text)
    recipe = replace(RECIPE, steps=200) if phases == "one" else RECIPE  # all from scratch, through random attention
    trained = teach(tiny, method, shown(480), shown(60, 1), recipe)
    assert -trained.after > 0.95
    others = shown(200, 2)
    said = predicted(tiny, method, trained.state, others)
    assert ((said > 0.5) == others.labels).mean() > 0.9


def test_the_encoder_alone_learns_it_too_and_wants_no_model() -> None:
    found = encoded(PLAIN, shown(480), shown(60, 1))
    others = shown(200, 2)
    assert ((found.predicted(others) > 0.5) == others.labels).mean() > 0.9


def test_in_two_phases_the_vectors_stand_still_while_what_lifts_them_learns(tiny: Backbone) -> None:
    method, short = replace(PLAIN, phases="two"), replace(RECIPE, steps=5, evaluate_every=5)
    first = encoded(method, shown(), shown(60, 1), short.seed).trained.state
    kept = []
    teach(tiny, method, shown(), shown(60, 1), short, on_progress=lambda told: kept.append(told.steps))
    assert sorted(set(kept)) == [2, 3]
    state = ctr.born(tiny, method, shown()) | {n: t for n, t in first.items() if n.startswith(ctr.ENCODER)}
    names = [name for name in state if not name.startswith(ctr.ENCODER)]
    alone = ctr._learned(tiny, method, state, names, shown(), shown(60, 1), short, None, lambda _: None).state
    assert all(torch.equal(alone[name], first[name]) for name in first if name.startswith(ctr.ENCODER))
    assert not torch.equal(alone["in.1.weight"], state["in.1.weight"])


def test_over_the_encoder_it_begins_as_the_encoder(tiny: Backbone) -> None:
    method, short = replace(PLAIN, phases="over"), replace(RECIPE, steps=2, lr=1e-12, evaluate_every=1)
    trained = teach(tiny, method, shown(), shown(60, 1), short)
    alone = encoded(method, shown(), shown(60, 1)).predicted(shown(50, 2))
    assert predicted(tiny, method, trained.state, shown(50, 2)) == pytest.approx(alone, abs=1e-6)
    opened = trained.state | {"open": torch.ones(1)}
    assert np.abs(predicted(tiny, method, opened, shown(50, 2)) - alone).max() > 0.01


def test_a_lora_learns_inside_and_the_models_own_weights_stay(tiny: Backbone) -> None:
    before = [parameter.clone() for parameter in tiny.model.parameters()]
    method = replace(PLAIN, tuning="lora")
    trained = teach(tiny, method, shown(), shown(60, 1), replace(RECIPE, steps=3, evaluate_every=3))
    assert any(name.startswith("lora.") for name in trained.state)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.model.parameters(), strict=True))


def test_labels_of_one_kind_teach_nothing(tiny: Backbone) -> None:
    ones = replace(shown(), labels=np.ones(240, np.int64))
    with pytest.raises(FeatureError, match="all 240 rows that teach"):
        teach(tiny, PLAIN, ones, shown(), RECIPE)
    with pytest.raises(FeatureError, match="all 240 rows that stop it"):
        encoded(PLAIN, shown(), ones)


def test_a_model_without_these_tokens_is_refused(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "tokens", lambda text: [1, 2])
    with pytest.raises(TrainError, match='no token of its own for "0"'):
        ctr.answers(tiny)
