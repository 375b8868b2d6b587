"""Shared pieces: the real embedded model in float32 (exact), and a tiny random one with the same tokenizer (fast)."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: its threads spin where a worker has one core

import torch
from playwright.sync_api import Browser, sync_playwright
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from collectors.item import Item, Signal
from engine.backbone import Backbone
from engine.plan import Plan, spare_threads
from engine.profile import Profile, build
from engine.weights import EMBEDDED, cache_folder, embedded
from studies.store import Store
from tests.postgres import Server, serving
from tests.tiny_pictures import make_pipeline

WORKERS = 2  # each may hold 3.5 GB, and the app that a test starts comes on top
# As the app does, and shared among the workers.
torch.set_num_threads(max(1, spare_threads() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
CHROMIUM_FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
FLOAT32 = Plan("cpu", torch.float32, "none", "exact, for tests")

END_OF_TURN_LOGIT = 5.2
LIKES = (
    "My wifi password is my dog's name, so now the dog is down as well.",
    "I told the printer I was in a hurry. It could smell fear.",
    "The senior developer fixed the bug by deleting the customer.",
    "My cat filed a complaint about the breakfast delay; the hearing is at 4 am.",
    "A pigeon held the door for me today and waited to be thanked.",
    "My plant and I have an agreement: I forget, it dies, we both look away.",
)
DISLIKES = ("What is brown and sticky? A stick.",)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Of `-n auto`: one file alone runs here, where nothing has to be started first."""
    files = {arg.partition("::")[0] for arg in config.args}
    return 0 if len(files) == 1 and files.pop().endswith(".py") else min(WORKERS, os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pages come first: a worker has a file at a time, and at the end no long one must be left over."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's chromium, headless."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have a browser: apt-get install chromium")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL for all tests of this process."""
    with serving() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Store]]:
    """Opens the store of a folder: its file, and in a second run of the test a database of its own in PostgreSQL, the
    latest of which the environment names."""
    if request.param == "sqlite":
        yield Store
        return
    with request.getfixturevalue("postgres").stores() as stores:

        def opened(folder: Path) -> Store:
            store, url = stores(folder)
            monkeypatch.setenv("PALATE_DATABASE_URL", url)
            return store

        yield opened


@pytest.fixture(scope="session")
def lm() -> Backbone:
    """The embedded model in float32, whatever the processor would choose."""
    folder = embedded(cache_folder())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Backbone(model, AutoTokenizer.from_pretrained(folder), EMBEDDED, FLOAT32)


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """Two layers of random weights behind the embedded model's tokenizer: gibberish in milliseconds."""
    tokenizer = AutoTokenizer.from_pretrained(embedded(cache_folder()))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.4,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # one constant feature lets it end its turn about every twenty tokens, as jokes do
        model.model.embed_tokens.weight[:, 0] = 4.0
        model.lm_head.weight[:, 0] = 0.0
        model.lm_head.weight[tokenizer.eos_token_id] = 0.0
        model.lm_head.weight[tokenizer.eos_token_id, 0] = END_OF_TURN_LOGIT
    return Backbone(model, tokenizer, "tiny-random", FLOAT32)


@pytest.fixture(scope="session")
def profile() -> Profile:
    """Six likes and a dislike, with a summary."""
    liked = [(Item("test", str(i), "joke", text), 1) for i, text in enumerate(LIKES)]
    disliked = [(Item("test", f"d{i}", "joke", text), -1) for i, text in enumerate(DISLIKES)]
    reactions = [(item, Signal(item.id, sign)) for item, sign in liked + disliked]
    return build("somebody", reactions, summary="This person enjoys deadpan jokes about animals and machines.")


@pytest.fixture(scope="session")
def tiny_folder(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder for `--model`."""
    folder = tmp_path_factory.mktemp("tiny-model")
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-image model of random weights as a folder for `--image-model`."""
    return make_pipeline(tmp_path_factory.mktemp("tiny-pictures"))
