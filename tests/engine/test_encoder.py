"""`--encoder`: vectors of another width and another meaning, from profile to soft tokens; what was taught before is not
used with it. The encoders are tiny random ones of two kinds, made here."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel, T5Config, T5EncoderModel

from collectors.item import Item, Signal, write_reactions
from engine import encoder
from engine.__main__ import main
from engine.catalog import ENCODERS
from engine.learning import says, state_of
from engine.methods import ARMS
from engine.methods.base import Ask
from engine.methods.e2p import E2P
from engine.optimise import Recipe
from engine.profile import build
from engine.prompt import prompt
from engine.topics import UNRELATED, unrelated
from engine.train import Example, train
from engine.weights import cache_folder, embedded
from tests.conftest import LIKES

WIDTH = 24


def bert(vocab: int, width: int, layers: int, heads: int, inner: int, **more: object) -> BertModel:
    sizes = {"vocab_size": vocab, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return BertModel(BertConfig(intermediate_size=inner, **sizes, **more))


def t5(vocab: int, width: int, layers: int, heads: int, inner: int, size: int, **more: object) -> T5EncoderModel:
    sizes = {"vocab_size": vocab, "d_model": width, "num_layers": layers, "num_heads": heads}
    return T5EncoderModel(T5Config(d_ff=inner, d_kv=size, **sizes, **more))


@pytest.fixture(scope="session", params=["bert", "t5"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence encoder as a folder, 24 wide, with the embedded model's tokenizer."""
    raw, made = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp(f"{request.param}-encoder")
    tokenizer = AutoTokenizer.from_pretrained(embedded(cache_folder()))
    tokenizer.save_pretrained(raw)
    torch.manual_seed(1)
    size = len(tokenizer)
    tiny = (
        bert(size, WIDTH, 1, 2, 32, initializer_range=1.0) if request.param == "bert" else t5(size, WIDTH, 1, 2, 32, 12)
    )
    tiny.save_pretrained(raw)
    body = Transformer(str(raw), max_seq_length=64)
    SentenceTransformer(modules=[body, Pooling(WIDTH)], device="cpu").save(str(made))
    return made


@pytest.fixture(autouse=True)
def back() -> Iterator[None]:
    yield
    encoder.use(None)


def liking(texts: tuple[str, ...]) -> list[tuple[Item, Signal]]:
    items = [Item("made", str(n), "joke", text) for n, text in enumerate(texts)]
    return [(item, Signal(item.id, 1)) for item in items]


def test_vectors_are_the_encoders_own_and_of_unit_length(folder: Path) -> None:
    before = encoder.encode(LIKES)
    encoder.use(str(folder))
    vectors = encoder.encode(LIKES)
    assert vectors.shape == (len(LIKES), WIDTH) == (len(LIKES), encoder.WIDTH)
    expected = SentenceTransformer(str(folder), device="cpu").encode(list(LIKES), normalize_embeddings=True)
    assert np.allclose(vectors, expected, atol=1e-5)
    assert encoder.encode([]).shape == (0, WIDTH)
    encoder.use(None)
    assert np.array_equal(encoder.encode(LIKES), before), "the embedded one is back, and nothing of the other remains"


def test_profiles_and_what_they_are_named_by_follow_the_encoder(folder: Path) -> None:
    ours = build("me", liking(LIKES))
    encoder.use(str(folder))
    theirs = build("me", liking(LIKES))
    assert theirs.vectors.shape == (len(LIKES), WIDTH)
    assert theirs.digest != ours.digest
    assert theirs.topics
    assert encoder.NAME.startswith(folder.name)


def test_every_method_writes_and_learns_on_vectors_of_another_width(tiny, folder: Path) -> None:
    encoder.use(str(folder))
    profile = build("me", liking(LIKES), summary="Deadpan jokes.")
    for arm, method in ARMS.items():
        state = method.born(tiny, profile.vectors)
        told = prompt(tiny, method.condition(tiny, profile, state, Ask(payload="cats")))
        assert len(told) > 10, arm
    examples = [Example(profile, Ask(), text) for text in ("one", "two", "three", "four")]
    recipe = Recipe(steps=4, batch=2, accumulate=2, lr=1e-2, evaluate_every=2, max_target_tokens=8)
    out = train(tiny, says(tiny, E2P()), E2P().born(tiny, profile.vectors), examples, examples, recipe)
    assert out.after < out.before


def test_what_was_taught_with_another_encoder_is_not_used(lm, folder: Path, tmp_path: Path) -> None:
    assert state_of(lm, E2P(), tmp_path, "me"), "it came with Palate"
    encoder.use(str(folder))
    assert state_of(lm, E2P(), tmp_path, "me") is None


def test_two_encoders_in_folders_of_one_name_are_told_apart(folder: Path, tmp_path: Path) -> None:
    encoder.use(str(folder))
    first = encoder.NAME
    model = SentenceTransformer(str(folder), device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    model.save(str(tmp_path / folder.name))
    encoder.use(str(tmp_path / folder.name))
    assert first != encoder.NAME


def test_topics_join_where_unrelated_texts_do_not_reach(folder: Path) -> None:
    assert math.isclose(unrelated(), 0.2, abs_tol=0.01), "the embedded encoder's, as it was chosen on the sample feed"
    for name in (None, str(folder)):
        encoder.use(name)
        vectors = encoder.encode(UNRELATED)
        pairs = (vectors @ vectors.T)[np.triu_indices(len(UNRELATED), 1)]
        assert 0.82 < (pairs < unrelated()).mean() < 0.92, "whatever the level of this encoder's cosines"


def test_the_command_line_learns_and_writes_with_it(tiny_folder: Path, folder: Path, tmp_path: Path, capsys) -> None:
    people = [(f"user{n}", liking(tuple(f"{text} {n}" for text in LIKES))) for n in range(40)]
    write_reactions(tmp_path / "crowd.jsonl", people)
    write_reactions(tmp_path / "me.jsonl", [("me", liking(LIKES))])
    both = ["--model", str(tiny_folder), "--encoder", str(folder)]
    quick = ["--steps", "2", "--batch", "2", "--accumulate", "1", "--evaluate-every", "1", "--max-target-tokens", "8"]
    crowd = ["--population", str(tmp_path / "crowd.jsonl"), "--out", str(tmp_path / "data")]
    assert main(["learn", "persoma", *crowd, *both, *quick]) == 0
    capsys.readouterr()
    writing = ["generate", "--profile", str(tmp_path / "me.jsonl"), "--data-dir", str(tmp_path / "data")]
    assert main([*writing, "--methods", "persoma", "--json", *both]) == 0
    assert json.loads(capsys.readouterr().out)["arm"].startswith("persoma")
    assert main([*writing, "--methods", "persoma", "--json", *both[:2]]) == 0
    assert "it has learned nothing yet" in capsys.readouterr().err, "what it learned belongs to the other encoder"


@pytest.mark.parametrize("wrong", ["a folder of something else", "nothing there", "damaged"])
def test_trouble_is_one_sentence_and_the_encoder_stays(folder: Path, tmp_path: Path, wrong: str) -> None:
    place = tmp_path / "it"
    if wrong != "nothing there":
        place.mkdir()
    if wrong == "damaged":
        (place / "modules.json").write_text("[{")
    with pytest.raises(encoder.EncoderError, match="--encoder") as told:
        encoder.use(str(place))
    assert "\n" not in str(told.value)
    assert encoder.NAME == encoder.EMBEDDED


def test_a_hub_encoder_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(encoder.EncoderError, match="check its name and the network"):
        encoder.use("sentence-transformers/sentence-t5-base")


SHAPES: dict[str, Callable[[], BertModel | T5EncoderModel]] = {
    "all-MiniLM-L6-v2": lambda: bert(30522, 384, 6, 12, 1536),
    "BAAI/bge-small-en-v1.5": lambda: bert(30522, 384, 12, 12, 1536),
    "sentence-transformers/sentence-t5-base": lambda: t5(32128, 768, 12, 12, 3072, 64),
    "sentence-transformers/sentence-t5-large": lambda: t5(32128, 1024, 24, 16, 4096, 64),
    "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": lambda: bert(250037, 384, 12, 12, 1536),
}
AFTER_THE_MEAN = {
    "sentence-transformers/sentence-t5-base": 768 * 768,
    "sentence-transformers/sentence-t5-large": 1024 * 768,
}


def test_the_catalogs_figures_are_those_of_the_models() -> None:
    named = {known.name: known for known in ENCODERS}
    assert {"sentence-transformers/sentence-t5-base", encoder.EMBEDDED} <= named.keys()
    with torch.device("meta"):
        for name, make in SHAPES.items():
            assert make().num_parameters() + AFTER_THE_MEAN.get(name, 0) == named[name].parameters, name
    assert named[encoder.EMBEDDED].width == encoder.EMBEDDED_WIDTH == encoder.encode(["x"]).shape[1]


def test_many_encode_at_once_while_somebody_forgets() -> None:
    texts = [f"a duck with the number {n}" for n in range(8)]
    expected, wrong = encoder.encode(texts), []

    def encode_and_forget() -> None:
        try:
            for _ in range(6):
                if not np.allclose(encoder.encode(texts), expected, atol=1e-5):
                    wrong.append("other vectors")
                encoder.forget()
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=encode_and_forget) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
