"""Whatever is wrong at the start ends in one sentence that says what to do, and exit status 2."""

import json
import shutil
import socket
import sys
from pathlib import Path

import pytest

import app

Outcome = tuple[int, str]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_folder: Path):
    """Run app.main() with flags; for starts that must fail."""

    def run(*flags: str) -> Outcome:
        given = ["--data-dir", str(tmp_path / "data"), "--port", str(free_port()), "--model", str(tiny_folder)]
        monkeypatch.setattr(sys, "argv", ["app.py", *given, *flags])
        code = app.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert said.err.startswith("Palate cannot start: ")
        assert said.err.count("\n") == 1
        return code, said.err

    return run


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_port_in_use(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = start("--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "choose another --port" in said


def test_a_data_folder_that_cannot_be(start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, said = start("--data-dir", str(tmp_path / "file" / "data"))
    assert code == 2
    assert "--data-dir" in said


def test_a_data_folder_that_cannot_be_written(start) -> None:
    code, said = start("--data-dir", "/proc/palate")  # not even root can write there
    assert code == 2
    assert "--data-dir" in said


def test_a_database_that_is_none(start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "palate.db").write_bytes(b"this is no database" * 100)
    code, said = start()
    assert code == 2
    assert "is damaged" in said


def test_a_model_folder_without_weights(start, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    code, said = start("--model", str(tmp_path / "model"))
    assert code == 2
    assert "no weights" in said
    assert "--model" in said


def test_a_model_folder_that_is_not_there(start) -> None:
    code, said = start("--model", "./no-such-folder")
    assert code == 2
    assert "--model" in said


def test_a_hub_model_without_a_network(start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    code, said = start("--model", "somebody/some-model")
    assert code == 2
    assert "SmolLM2-135M-Instruct" in said
    assert "--model" in said


def test_a_folder_that_is_no_sentence_encoder(start, tiny_folder: Path) -> None:
    code, said = start("--encoder", str(tiny_folder))
    assert code == 2
    assert "modules.json" in said
    assert "--encoder" in said


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--engine", "openai"], "add --base-url"),
        (["--base-url", "http://127.0.0.1:9/v1"], "add --engine openai"),
        (["--engine", "openai", "--base-url", "http://127.0.0.1:9/v1"], "cannot be reached: start it"),
        (["--engine", "openai", "--base-url", "127.0.0.1:9"], "is no address of a server"),
    ],
)
def test_a_server_that_cannot_be_asked(start, monkeypatch: pytest.MonkeyPatch, flags: list[str], told: str) -> None:
    monkeypatch.setattr("engine.server.PAUSE", 0.01)
    code, said = start(*flags)
    assert code == 2
    assert told in said


def test_a_damaged_model(start, tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, said = start("--model", str(tmp_path / "model"))
    assert code == 2
    assert "cannot be loaded" in said


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", "empty"),
        ("wrong.csv", b"colour,size\nred,3\n", "--column text=NAME"),
        ("nul.csv", b"text,like\nha\0ha,1\n", "NUL byte"),
        ("latin.csv", b"text,like\ncaf\xe9 joke,1\n", "not UTF-8"),
        ("line.csv", b"text,like\n" + b"x" * 1_000_000 + b",1\n", "longer than 256 kB"),
        ("broken.jsonl", b'{"text": \n', "broken JSON"),
        ("rating.csv", b"text,rating\nha,often\n", "not a number"),
    ],
)
def test_an_import_that_cannot_be_read(start, tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, said = start("--import", str(tmp_path / name))
    assert code == 2
    assert told in said
    assert name in said


def test_an_unknown_role_of_a_column(start, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "ha", "like": 1}))
    code, said = start("--import", str(tmp_path / "a.jsonl"), "--column", "colour=like")
    assert code == 2
    assert "'colour'" in said
