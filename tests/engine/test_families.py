"""Every slot on tiny random models of six decoder families: fused projections, no system role, scaled embeddings,
capped logits, sliding windows, templates that would think."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from engine.backbone import Backbone
from engine.decode import decode
from engine.learning import says
from engine.methods import ARMS, METHODS
from engine.methods.base import Ask, Conditioning, Contrast
from engine.methods.cross_attention import CrossAttention
from engine.methods.e2p import E2P
from engine.optimise import Recipe
from engine.patches import LowRank
from engine.plan import Plan
from engine.prompt import prompt
from engine.train import Example, losses, train
from engine.weights import cache_folder, embedded

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=1024, initializer_range=0.3)  # fmt: skip
CONFIGS: dict[str, Callable[..., object]] = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "qwen3": lambda **sizes: Qwen3Config(head_dim=8, **sizes),
    "gemma3": lambda **sizes: Gemma3TextConfig(head_dim=8, sliding_window=16, final_logit_softcapping=5.0, **sizes),
    "phi3": Phi3Config,
    "mistral": lambda **sizes: MistralConfig(sliding_window=16, **sizes),
}
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
)
TEMPLATES = {
    "qwen3": CHATML + "{% if enable_thinking is not defined or enable_thinking %}<think>\n{% endif %}{% endif %}",
    "gemma3": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<start_of_turn>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
}
SYSTEM = (({"role": "system", "content": "Be brief."}), ({"role": "user", "content": "hi"}))
GREEDY = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=6)


@pytest.fixture(scope="module", params=CONFIGS)
def family(request) -> Backbone:
    tokenizer = AutoTokenizer.from_pretrained(embedded(cache_folder()))
    tokenizer.chat_template = TEMPLATES.get(request.param, CHATML + "{% endif %}")
    torch.manual_seed(0)
    sizes = SIZES | {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1}
    model = AutoModelForCausalLM.from_config(CONFIGS[request.param](**sizes), dtype=torch.float32)
    return Backbone(model, tokenizer, request.param, Plan("cpu", torch.float32, "none", "for tests"))


def told(text: str, **slots: object) -> Conditioning:
    return Conditioning(({"role": "user", "content": text},), **slots)  # type: ignore[arg-type]


def test_templates_neither_think_nor_fail_for_want_of_a_system_role(family):
    rendered = family.render(SYSTEM)
    assert "Be brief." in rendered
    assert "<think>" not in rendered
    assert family.has_system_role == (family.name != "gemma3")


def test_text_rows_are_the_librarys_greedy_generate(family):
    texts = ("hi", "Tell me a long story of a goat, a brass band and a lighthouse at the end of the world.")
    rows = decode(family, [(told(text), GREEDY) for text in texts])
    for text, [row] in zip(texts, rows, strict=True):
        ids = torch.tensor([prompt(family, told(text)).ids])
        whole = family.model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=sorted(family.stop_ids))
        expected = [token for token in whole[0, ids.shape[1] :].tolist() if token not in family.stop_ids]
        assert list(row.token_ids) == expected


def test_all_slots_share_a_batch_and_every_row_is_as_alone(family, profile):
    dice = torch.Generator().manual_seed(0)
    q = family.projection(1, "q")
    width = family.model.config.num_attention_heads * (getattr(family.model.config, "head_dim", None) or 8)
    lora = LowRank(torch.randn(1, 32, 2, generator=dice), torch.randn(1, 2, width, generator=dice), 20.0)
    attention = CrossAttention(blocks=2, inner=16)
    state = {name: tensor + 0.3 for name, tensor in attention.born(family, profile.vectors).items()}
    wild = replace(GREEDY, temperature=5.0, top_k=0)  # random weights may be sure of one token whatever is asked
    requests = [
        (told("hi"), wild),
        (told("a somewhat longer request"), replace(GREEDY, temperature=1.0, seed=4)),
        (E2P().condition(family, profile, E2P().born(family, profile.vectors), GREEDY), GREEDY),
        (told("hi", patches={q: (lora,)}), wild),
        (attention.condition(family, profile, state, GREEDY), GREEDY),
        (told("hi", contrast=Contrast(told("a longer amateur"), 0.5)), GREEDY),
    ]
    together = decode(family, requests)
    assert [decode(family, [request])[0] for request in requests] == together
    assert together[0] != together[3]
    assert not any(module._forward_hooks for module in family.model.modules())


def test_every_arm_writes(family, profile):
    requests = []
    for method in ARMS.values():
        state = method.born(family, profile.vectors)
        requests.append((method.condition(family, profile, state, GREEDY), replace(GREEDY, max_new_tokens=2)))
    assert len(decode(family, requests)) == len(ARMS)


@pytest.mark.parametrize("name", ["e2p", "topics", "persoma", "cross_attention"])
def test_every_learned_method_learns(family, profile, name):
    method = METHODS[name]()
    example = Example(profile, Ask(), "a cat sat")
    state = method.born(family, profile.vectors)
    recipe = Recipe(steps=8, batch=2, accumulate=1, lr=1e-2, evaluate_every=4)
    out = train(family, says(family, method), state, [example] * 2, [example], recipe)
    assert out.after < out.before


def test_the_head_is_the_whole_head_and_targets_end_the_turn(family):
    assert family.head_is_all()
    assert family.end_of_turn[-1] in family.stop_ids


def test_the_loss_is_that_of_the_librarys_logits(family, profile):
    """Scaled embeddings, capped logits and windows included."""
    example = Example(profile, Ask(), "The cat sat on the mat.")
    found, _ = losses(family, lambda p, s, a: told("hi"), {}, [example], 24)
    head, target = prompt(family, told("hi")).ids, (*family.tokens(example.target), *family.end_of_turn)
    with torch.no_grad():
        logits = family.model(input_ids=torch.tensor([[*head, *target]])).logits[0].log_softmax(-1)
    expected = -logits[len(head) - 1 : -1].gather(1, torch.tensor(target)[:, None]).mean()
    assert float(found) == pytest.approx(float(expected), abs=1e-4)
    assert np.isfinite(float(found))


def test_projections_are_where_they_say(family):
    """q, k and v as told are the module's own output, or its slices where they are fused."""
    for which, heads in (("q", 4), ("k", 2), ("v", 2)):
        site = family.projection(2, which)
        module = family.model.get_submodule(site.module)
        size = (site.stop or module.out_features) - site.start
        assert size == heads * 8
    assert family.projection(0, "o").module.endswith("o_proj")
    assert len(family.layers) == 4
