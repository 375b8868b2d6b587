"""A served model: the real `transformers serve`, a stand-in that reads as vLLM does, and servers that misbehave."""

import importlib.util
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from collectors.item import Item, Signal, write_reactions
from engine import remote
from engine.__main__ import main
from engine.backbone import BackboneError
from engine.decode import decode
from engine.fitting import beginning
from engine.learning import born_on, conditioned, facts_of, learn, missing, stand_on, state_path
from engine.methods import ARMS, Ask, Conditioning, Method, arm_id
from engine.methods.base import Score
from engine.methods.cope import CoPe
from engine.methods.cross_attention import CrossAttention
from engine.methods.e2p import E2P
from engine.methods.lora import LoRA, write_peft
from engine.methods.none import NoProfile
from engine.optimise import Recipe, TrainError
from engine.recommend.scorers import scorer
from engine.remote import Remote, opened, outline
from engine.server import Server, ServerError, kind_of, sampler
from engine.state import StateError, save
from engine.summary import summarize
from tests.model_server import Reply, StandIn, completion, listening, transformers_serving

ASK = Ask(payload="cats", seed=3, max_new_tokens=12)
GREEDY = replace(ASK, temperature=0.0, repetition_penalty=1.0)
BY_MESSAGES = [
    arm for arm, method in ARMS.items() if method.name in ("none", "history", "retrieval", "summary", "reranked")
]
serving = pytest.mark.skipif(
    importlib.util.find_spec("openai") is None,
    reason="transformers serve wants the openai package: requirements-dev.txt",
)


@pytest.fixture(autouse=True)
def _in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.server.PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def told(text: str = "hi", **slots: Any) -> Conditioning:
    return Conditioning(({"role": "user", "content": text},), **slots)


# ---- the real transformers serve


@pytest.fixture(scope="module")
def address(tiny_folder: Path) -> Iterator[str]:
    with transformers_serving(tiny_folder) as url:
        yield url


@pytest.fixture(scope="module")
def served(address: str) -> Remote:
    return Remote.connect(address, None)


@serving
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_what_is_greedy_is_the_same_text_as_in_process(served, tiny, profile, tmp_path, penalty) -> None:
    ask = replace(GREEDY, repetition_penalty=penalty, max_new_tokens=20)
    requests = [(conditioned(tiny, ARMS[arm], tmp_path, profile, ask), ask) for arm in BY_MESSAGES[1:5]]
    expected = decode(tiny, requests)
    assert [(row[0].text, row[0].finish) for row in decode(served, requests)] == [
        (row[0].text, row[0].finish) for row in expected
    ]
    assert len({row[0].text for row in expected}) == 4


@serving
def test_samples_are_drawn_and_drawn_again_alike(served) -> None:
    [first] = decode(served, [(told("Tell a joke."), replace(ASK, n=3))])
    assert len({text.text for text in first}) == 3, "greedy, whatever the temperature: it must be told to sample"
    assert [text.text for text in decode(served, [(told("Tell a joke."), replace(ASK, n=3))])[0]] == [
        text.text for text in first
    ]
    assert decode(served, [(told("Tell a joke."), replace(ASK, seed=4))])[0][0].text != first[0].text
    assert all(0 < text.tokens <= 12 for text in first)


@serving
def test_ways_in_messages_write_and_the_others_say_why_not(served, profile, tmp_path) -> None:
    reasons = {arm: missing(served, method, tmp_path, profile) for arm, method in ARMS.items()}
    assert {arm for arm, why in reasons.items() if why is None} == set(BY_MESSAGES)
    for arm, why in reasons.items():
        if why:
            assert why.endswith(("leave --engine out)", "--engine vllm)"))
            assert ("vllm" in why) == (ARMS[arm].needs in ({"prefix"}, {"adapter"})), arm
    requests = [(conditioned(served, ARMS[arm], tmp_path, profile, ASK), ASK) for arm in BY_MESSAGES]
    assert all(len(texts) == 1 and texts[0].text for texts in decode(served, requests))
    assert summarize(served, profile)


@serving
def test_what_reads_or_teaches_a_model_says_that_it_cannot(served, profile, tmp_path) -> None:
    for name in ("judge", "item_lm", "ctr"):
        with pytest.raises(StateError, match=f"{name} cannot be asked here: .* or take nearness or topics"):
            scorer(name, served, tmp_path)
    assert scorer("topics", served, tmp_path)
    with pytest.raises(TrainError, match="to learn, start with the same model"):
        beginning(served, LoRA(), tmp_path, profile)
    with pytest.raises(TrainError, match="to learn, start with the same model"):
        learn(served, E2P(), [profile], [profile], Recipe())
    with pytest.raises(ServerError, match="read from within"):
        decode(served, [(told(), replace(ASK, choices=("yes", "no")))])
    stand_on(served, tmp_path)
    assert served.base_name == ""


@serving
def test_the_line_names_server_and_model(served, address, tiny_folder) -> None:
    assert served.describe() == f"{tiny_folder}, told to the transformers server at {address}"
    assert served.facts()["device"] == address
    again = Remote.connect(address, str(tiny_folder))
    assert (again.name, again.fingerprint) == (served.name, served.fingerprint)
    with pytest.raises(ServerError, match=r"has no 'another': it lists .*tiny-model"):
        Remote.connect(address, "another")


@serving
def test_the_command_line_writes_over_a_server(address, tmp_path, capsys) -> None:
    liked = [(Item("made", str(n), "joke", f"The ladder number {n} left."), Signal(f"made:{n}", 1)) for n in range(6)]
    write_reactions(tmp_path / "me.jsonl", [("me", liked)])
    asked = ["generate", "--profile", str(tmp_path / "me.jsonl"), "--data-dir", str(tmp_path), "--engine", "openai"]
    assert main([*asked, "--base-url", address, "--json", "--methods", "none", "history", "e2p"]) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [ARMS[row["arm"]].name for row in rows] == ["none"] * 3 + ["history"]
    assert all(row["tokens"] for row in rows)
    assert said.err.count("takes no soft tokens") == 3
    assert main([*asked, "--base-url", address, "--quantize", "nf4"]) == 2
    assert "leave --quantize out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fit", "lora", "--profile", "x", "--engine", "openai"])


# ---- vLLM, by its documented API


@pytest.fixture
def vllm(tiny) -> Iterator[tuple[StandIn, str]]:
    stand_in = StandIn(tiny)
    with listening(stand_in) as url:
        yield stand_in, url


def taught(lm, method: Method, folder: Path, user: str, scale: float = 0.5) -> None:
    """A state that is not the plain model, as a fit would have left it, and as PEFT has it."""
    torch.manual_seed(1)
    state = {name: tensor + scale * torch.randn_like(tensor) for name, tensor in born_on(lm, method, VECTORS).items()}
    path = state_path(lm, method, folder, user)
    save(path, state, facts_of(lm, method))
    if isinstance(method, LoRA):
        write_peft(path.with_suffix(".peft"), lm, method, state)


VECTORS = torch.randn(50, 384, generator=torch.Generator().manual_seed(0)).numpy()


def test_an_outline_knows_what_the_model_knows_of_its_tokens(tiny, tiny_folder) -> None:
    with listening(StandIn(tiny)) as url:
        there = Remote.connect_vllm(url, str(tiny_folder))
    assert (there.weights_id, there.token_norm, there.width) == (tiny.weights_id, tiny.token_norm, tiny.width)
    assert there.stop_ids == tiny.stop_ids
    assert torch.equal(there.embed(torch.arange(9)), tiny.embed(torch.arange(9)))
    assert there.model.model.layers[0].self_attn.q_proj.weight.is_meta, "no more than that is read"


def test_soft_tokens_arrive_at_vllm_as_they_were_meant(vllm, tiny, tiny_folder, profile, tmp_path) -> None:
    stand_in, url = vllm
    there = Remote.connect_vllm(url, str(tiny_folder))
    method = E2P(tokens=5)
    assert "has learned nothing yet for tiny: a server teaches nothing" in (
        missing(there, method, tmp_path, profile) or ""
    )
    taught(tiny, method, tmp_path, "")
    assert missing(there, method, tmp_path, profile) is None
    ways: list[Method] = [method, NoProfile(), NoProfile("comedian")]
    requests = [(conditioned(tiny, way, tmp_path, profile, GREEDY), GREEDY) for way in ways]
    stand_in.requests.clear()
    written = decode(there, requests)
    assert [row[0].text for row in written] == [row[0].text for row in decode(tiny, requests)]
    assert written[0][0].text != written[1][0].text
    assert all("prompt_embeds" in body for body in stand_in.requests), "a penalty sees the same of all arms"
    assert {body["stop_token_ids"][0] for body in stand_in.requests} == {min(tiny.stop_ids)}
    assert len({json.dumps({**body, "prompt_embeds": ""}) for body in stand_in.requests}) == 1, "one sampler for all"
    assert there.describe().endswith(f"told as token embeddings to the vLLM server at {url}")


def test_without_embeds_vllm_is_told_in_messages(vllm, tiny_folder, profile, tmp_path) -> None:
    stand_in, url = vllm
    stand_in.embeds = False
    there = Remote.connect_vllm(url, str(tiny_folder))
    assert "started without --enable-prompt-embeds" in (missing(there, E2P(), tmp_path, profile) or "")
    [[text]] = decode(there, [(told("a <|im_end|> b"), ASK)])
    assert (text.text, text.tokens) == ("It was said in messages.", 3)
    assert stand_in.requests[-1]["messages"][0]["content"] == "a  b"
    assert stand_in.requests[-1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert stand_in.requests[-1].keys() >= {"top_k", "repetition_penalty", "seed"}


def test_an_adapter_is_named_once_it_is_registered(vllm, tiny, tiny_folder, profile, tmp_path, monkeypatch) -> None:
    stand_in, url = vllm
    there = Remote.connect_vllm(url, str(tiny_folder))
    monkeypatch.setattr(remote, "FRESH", 0.0)
    taught(tiny, LoRA(), tmp_path, profile.user)
    why = missing(there, LoRA(), tmp_path, profile) or ""
    assert "start it with --enable-lora --lora-modules lora-72eacf-somebody-" in why
    name, _, lies = why.rpartition(" ")[2].partition("=")
    assert (Path(lies) / "adapter_config.json").exists()
    stand_in.adapters[name] = Path(lies)
    assert missing(there, LoRA(), tmp_path, profile) is None
    requests = [(conditioned(there, way, tmp_path, profile, GREEDY), GREEDY) for way in (LoRA(), NoProfile())]
    assert requests[0][0].adapter == name
    written = [row[0].text for row in decode(there, requests)]
    assert written == [row[0].text for row in decode(tiny, requests)]
    assert written[0] != written[1]
    taught(tiny, LoRA(), tmp_path, profile.user, scale=0.7)
    assert "does not know this adapter" in (missing(there, LoRA(), tmp_path, profile) or ""), "fitted anew: another"
    assert "add to its layers" in (missing(there, CrossAttention(), tmp_path, profile) or "")
    assert "contrast" in (missing(there, CoPe(), tmp_path, profile) or "")


def test_another_model_than_lies_here_is_found_out(vllm, tiny, tmp_path) -> None:
    config = deepcopy(tiny.model.config)
    config.hidden_size, config.head_dim = 16, 4
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ServerError, match="runs another model than lies here"):
        Remote.connect_vllm(vllm[1], str(tmp_path))


def test_what_vllm_needs_is_said(vllm, tiny_folder, tmp_path) -> None:
    with pytest.raises(ServerError, match="needs a vLLM server, and after --model"):
        Remote.connect_vllm(vllm[1], None)
    with (
        listening(lambda path, body: (200, {"data": [{"id": "m", "owned_by": "llamacpp"}]})) as url,
        pytest.raises(ServerError, match="needs a vLLM server"),
    ):
        Remote.connect_vllm(url, str(tiny_folder))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BackboneError, match="cannot be read"):
        outline(tmp_path)
    for flags in (("process", "http://x/v1", None), ("openai", None, None)):
        with pytest.raises(ServerError, match="--base-url"):
            opened(*flags)


def test_a_prompt_longer_than_the_window_is_not_sent(vllm, tiny_folder) -> None:
    stand_in, url = vllm
    there = Remote.connect_vllm(url, str(tiny_folder))
    asked = len(stand_in.requests)
    with pytest.raises(ValueError, match="exceed the window of 2048"):
        decode(there, [(told("word " * 3000), ASK)])
    assert len(stand_in.requests) == asked


# ---- any server


@pytest.fixture
def answering() -> Callable[..., AbstractContextManager[str]]:
    """A plain OpenAI-style server with one model, whose answers to messages are those of a function."""

    def start(answer: Callable[[dict[str, Any]], Reply], owner: str = "somebody") -> AbstractContextManager[str]:
        def reply(path: str, body: dict[str, Any] | None) -> Reply:
            return (200, {"data": [{"id": "m", "owned_by": owner}]}) if body is None else answer(body)

        return listening(reply)

    return start


def test_rows_are_asked_side_by_side_and_come_back_in_order(answering) -> None:
    under_way, most = [0], [0]

    def answer(body: dict[str, Any]) -> Reply:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        under_way[0] -= 1
        return 200, completion(f"{body['messages'][0]['content']} {body.get('seed')}", "length")

    with answering(answer) as url:
        there = Remote.connect(url, "m")
        seen: list[tuple[int, int, str]] = []
        requests = [(told(str(n)), replace(ASK, n=4)) for n in range(6)]
        written = decode(there, requests, on_text=lambda *row: seen.append(row))
        assert [row[0].text.split()[0] for row in written] == list("012345")
        assert len({text.text for row in written for text in row}) == 24
        assert len({text.text.split()[1] for row in written for text in row}) == 4, "the arms share their seeds"
        assert 1 < most[0] <= remote.AT_ONCE
        assert sorted(seen) == [(r, s, text.text) for r, row in enumerate(written) for s, text in enumerate(row)]
        assert {text.finish for row in written for text in row} == {"budget"}
        best = Score(lambda texts: torch.arange(len(texts)).numpy(), 3)
        [[kept]] = decode(there, [(told("x", score=best), ASK)])
        assert kept.text == decode(there, [(told("x"), replace(ASK, n=3))])[0][2].text
        stopped = decode(there, requests, stopped=lambda: True)
        assert {(text.text, text.finish) for row in stopped for text in row} == {("", "stopped")}


def test_a_template_without_a_system_role_and_marks_in_texts(answering) -> None:
    heard: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> Reply:
        heard.append(body)
        return (
            (500, {"error": "no system role"}) if body["messages"][0]["role"] == "system" else (200, completion("ok"))
        )

    with answering(answer) as url:
        there = Remote.connect(url, None)
        assert not there.has_system_role
        hidden = "ha <|im_<|im_end|>end|> ha </s>[/INST] <start_of_turn>user"
        messages = ({"role": "system", "content": "Be dry."}, {"role": "user", "content": hidden})
        decode(there, [(Conditioning(messages), ASK)])
    assert heard[-1]["messages"] == [{"role": "user", "content": "Be dry.\n\nha  ha  user"}]
    assert heard[-1].keys() == {"model", "messages", "temperature", "top_p", "max_tokens", "seed"}, (
        "OpenAI's own fields"
    )
    assert there.describe().endswith("which cuts and penalises by its own defaults")


@pytest.mark.parametrize(
    ("reply", "told_as", "asked"),
    [
        ((401, {}), "refused the key: set OPENAI_API_KEY", 1),
        ((404, {}), "has no model 'm'", 1),
        ((400, {"error": "This model's maximum context length is 9"}), "cannot read a prompt this long", 1),
        ((422, {"detail": "SECRET"}), r"refused a request \(status 422\)", 1),
        ((503, {"detail": "SECRET"}), r"is busy or has a fault \(status 503\)", 2),
        ((302, {}), r"refused a request \(status 302\)", 1),
        ((200, {"choices": []}), "answers otherwise than OpenAI's API does", 1),
        ((200, {"choices": [{"message": None, "finish_reason": "stop"}]}), "answers otherwise", 1),
    ],
)
def test_trouble_is_one_sentence_and_quotes_nothing(answering, caplog, reply, told_as, asked) -> None:
    good, heard = [True], []

    def answer(body: dict[str, Any]) -> Reply:
        heard.append(body)
        return (200, completion("ok")) if good[0] else reply

    with answering(answer) as url, caplog.at_level(logging.DEBUG):
        there = Remote.connect(url, "m")
        good[0] = False
        heard.clear()
        with pytest.raises(ServerError, match=told_as) as trouble:
            decode(there, [(told("SECRET likes"), ASK)])
    assert len(heard) == asked
    assert "SECRET" not in str(trouble.value) + caplog.text
    assert trouble.value.lasting == (asked == 1)


def test_a_busy_server_is_asked_once_more(answering) -> None:
    turns = iter([(200, completion("ok")), (503, {}), (200, completion("back"))])
    with answering(lambda body: next(turns)) as url:
        assert decode(Remote.connect(url, "m"), [(told(), ASK)])[0][0].text == "back"


def test_a_server_that_is_not_there_or_too_slow(answering, monkeypatch) -> None:
    with pytest.raises(ServerError, match="cannot be reached: start it") as away:
        Remote.connect("http://127.0.0.1:9/v1", "m")
    assert not away.value.lasting
    slow = [False]

    def answer(body: dict[str, Any]) -> Reply:
        time.sleep(0.5 if slow[0] else 0)
        return 200, completion("ok")

    with answering(answer) as url:
        there = Remote.connect(url, "m")
        there.server = Server(url, timeout=0.05)
        slow[0] = True
        with pytest.raises(ServerError, match="gave no answer within"):
            decode(there, [(told(), ASK)])


def test_a_name_that_is_not_listed_is_tried(answering) -> None:
    with answering(lambda body: (200, completion("ok")) if body["model"] == "llama3" else (404, {})) as url:
        assert Remote.connect(url, "llama3").name == "llama3"
        with pytest.raises(ServerError, match="has no 'qwen': it lists m"):
            Remote.connect(url, "qwen")
    with (
        listening(lambda path, body: (200, {"data": [{"id": "a"}, {"id": "b"}]})) as url,
        pytest.raises(ServerError, match="serves a, b: name one of them after --model"),
    ):
        Remote.connect(url, None)
    with listening(lambda path, body: (404, {})) as url, pytest.raises(ServerError, match="--base-url ends in /v1"):
        Remote.connect(url, None)


def test_the_key_is_sent_and_never_shown(answering, monkeypatch) -> None:
    with pytest.raises(ServerError, match="OPENAI_API_KEY"):
        Server.at("http://user:secret@host/v1")
    for nonsense in ("host:8000", "ftp://host/v1", "http://"):
        with pytest.raises(ServerError, match="is no address"):
            Server.at(nonsense)
    assert Server.at("http://127.0.0.1:1/v1/")._client.headers["Authorization"] == "Bearer none"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden")
    server = Server.at("http://127.0.0.1:1/v1/")
    assert server._client.headers["Authorization"] == "Bearer sk-hidden"
    assert "hidden" not in repr(server)


def test_what_leaves_this_machine_is_said() -> None:
    assert Server("http://127.0.0.1:1/v1").notice() == Server("http://localhost/v1").notice() == ""
    near, far, unknown = (
        Server(f"http://{host}/v1").notice() for host in ("192.168.0.7:1", "8.8.8.8", "no.such.invalid")
    )
    assert near.startswith("Texts that were liked leave this machine")
    assert near.endswith("go to 192.168.0.7:1, on your network, unencrypted.")
    assert "beyond your network, unencrypted" in far
    assert "beyond your network" in unknown
    assert "unencrypted" not in Server("https://8.8.8.8/v1").notice()


def test_each_server_is_told_the_sampler_in_its_own_words() -> None:
    cards = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "OpenAI-style", None: "OpenAI-style"}
    assert {owner: kind_of({"id": "m", "owned_by": owner}) for owner in cards} == cards
    assert kind_of({"id": "m", "owned_by": "local", "status": {"value": "loaded"}}) == "transformers"
    assert kind_of({"id": "m", "owned_by": "llamacpp", "status": {"value": "loaded"}}) == "llama.cpp"
    plain = {"max_tokens": 12, "seed": 5, "temperature": 0.8, "top_p": 0.95}
    assert sampler("OpenAI-style", ASK, 5) == plain
    assert sampler("vLLM", ASK, 5) == plain | {"top_k": 50, "min_p": 0.0, "repetition_penalty": 1.1}
    ours = sampler("llama.cpp", ASK, 5)
    assert ours == plain | {"top_k": 50, "min_p": 0.0, "repeat_penalty": 1.1, "repeat_last_n": -1}
    config = json.loads(sampler("transformers", ASK, 5)["generation_config"])
    assert config == {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1}
    assert json.loads(sampler("transformers", GREEDY, 5)["generation_config"])["do_sample"] is False


def test_lengths_are_guessed_where_no_tokenizer_is(answering, tiny) -> None:
    with answering(lambda body: (200, completion("ok"))) as url:
        there = Remote.connect(url, "m")
    text = "The senior developer fixed the bug by deleting the customer."
    assert there.count(text) == pytest.approx(tiny.count(text), rel=0.8)
    assert there.cut(text, 3) == "The seni" + "or"
    assert there.cut(text, 99) == text
    assert there.count("\u5bff\u53f8\u304c\u9003\u3052\u305f") == 6


def test_what_a_method_needs_is_what_it_says(tiny, profile) -> None:
    for method in ARMS.values():
        state = {name: tensor for name, tensor in method.born(tiny, VECTORS).items()}
        said = method.condition(tiny, profile, state, ASK)
        used = {"prefix": said.prefix is not None, "contrast": said.contrast is not None}
        used |= {"adapter": bool(said.patches) and "patches" not in method.needs}
        assert method.needs - {"patches"} == {name for name, is_used in used.items() if is_used}, arm_id(method)
        assert ("patches" in method.needs) == (method.name == "cross_attention")
