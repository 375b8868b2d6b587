"""Jobs side by side on Ray, by two workers of a cluster that runs and of one that `--ray` starts: the same results."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from collectors.item import Item, Signal, read_reactions, write_reactions
from engine import cluster
from engine.__main__ import main
from engine.backbone import Backbone
from engine.cluster import ClusterError, each, next_of, stretches_of, workers_of
from engine.learning import missing
from engine.methods import ARMS, arm_id
from engine.methods.dpo import DPO
from engine.methods.lora import LoRA
from engine.profile import build
from studies.benchmarks import lamp, offline
from tests.lamp_set import bench, written
from tests.noting import Noting
from tests.postgres import free_port

OWN, REFINED = arm_id(LoRA()), arm_id(DPO())
QUICK = ["--steps", "2", "--batch", "2", "--accumulate", "1", "--evaluate-every", "1", "--max-target-tokens", "8"]
TAKEN = {"seconds", "peak_mb", "latency", "train_seconds"}  # of the figures of a row only these may differ
THINGS = ("ladder", "trumpet", "carpet", "kettle", "window", "bucket", "candle", "hammer")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster as `ray start --head` makes it, with two workers and a token."""
    port = free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2"]
    command += ["--port", str(port), "--include-dashboard", "false", "--disable-usage-stats"]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
        patch.setenv("RAY_worker_niceness", "0")
        pytest.importorskip("ray")  # not before: it reads these once
        telling = Path(folder, "told")
        with telling.open("w") as out:
            command += ["--temp-dir", folder]  # of pytest's own the names are too long for sockets
            running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            while "Ray runtime started" not in telling.read_text():
                assert running.poll() is None, telling.read_text()
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(60)


def test_every_job_is_done_once_and_neighbours_by_one_worker() -> None:
    assert stretches_of(7, 3) == [deque([0, 1]), deque([2, 3]), deque([4, 5, 6])]
    assert len(stretches_of(2, 16)) == 2
    stretches = stretches_of(10, 2)
    quick = [next_of(stretches[0], stretches) for _ in range(8)]  # while the other worker is at its first
    assert quick == [0, 1, 2, 3, 4, 9, 8, 7]
    assert [next_of(stretches[1], stretches) for _ in range(3)] == [5, 6, None]


@pytest.mark.parametrize(
    ("resources", "workers"),
    [
        ({"CPU": 2.0}, (2, {"num_cpus": 1})),
        ({"CPU": 16.0, "GPU": 2.0}, (2, {"num_cpus": 1, "num_gpus": 1})),
        ({}, (1, {"num_cpus": 1})),  # all is taken: one waits
    ],
)
def test_a_worker_has_a_gpu_or_a_core(resources: dict[str, float], workers: tuple[int, dict[str, int]]) -> None:
    assert workers_of(resources) == workers


def test_without_a_cluster_it_is_a_loop() -> None:
    work = Noting()
    assert [job for job, _ in each(work, ["a", "b"], None)] == ["a", "b"] == work.seen
    with pytest.raises(LookupError, match="no such thing"):
        list(each(work, ["refuse"], None))


def test_two_workers_are_at_it_at_once_until_one_job_raises(address: str, tmp_path: Path) -> None:
    (place := tmp_path / "here").mkdir()
    jobs, told = [f"meet {place}/one", "a", "b", "c", f"meet {place}/two", "d", "e"], {}
    running = each(Noting(), [*jobs, "refuse"], address)
    with pytest.raises(LookupError) as raised:
        told.update(running)
    assert raised.value.args == ("there is no such thing",), "as it was"
    assert {*jobs[4:], jobs[0]} <= set(told) <= set(jobs)
    assert len({pid for pid, *_ in told.values()} - {os.getpid()}) == 2
    assert {threads for _, threads, *_ in told.values()} == {1}
    assert {folder for *_, folder, _ in told.values()} == {str(Path.cwd())}
    assert told["e"][-1] == jobs[4:], "work stays in a worker, and its stretch is done in order"


def test_a_dead_worker_is_told(address: str) -> None:
    with pytest.raises(ClusterError, match=r"^the job die: its worker died") as told:
        list(each(Noting(), ["die"], address, "the job {}".format))
    assert "\n" not in str(told.value)


def test_what_cannot_begin_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nowhere in (f"127.0.0.1:{free_port()}", "nowhere"):
        with pytest.raises(ClusterError, match=f"at {nowhere} .*: start one by ray start --head"):
            list(each(str, [1], nowhere))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"^--ray needs Ray: pip install -r requirements-ray\.txt$"):
        list(each(str, [1], cluster.HERE))
    assert (Path(__file__).parents[1] / "requirements-ray.txt").is_file()


# ---- per-user fits


def people(path: Path, **likes: int) -> Path:
    def rows(user: str, count: int) -> list[tuple[Item, Signal]]:
        texts = [(f"{user}{n}", f"The {THINGS[n % 8]} left the {user} for good {n}.") for n in range(count)]
        return [(Item("made", name, "joke", text), Signal(f"made:{name}", 1)) for name, text in texts]

    write_reactions(path, [(user, rows(user, count)) for user, count in likes.items()])
    return path


def test_people_are_fitted_as_one_after_the_other(
    address: str, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same states at the same places, float32 bit by bit, and the refinement goes on from the adapter."""
    crowd = people(tmp_path / "crowd.jsonl", anna=8, ben=7, cleo=9)
    told = ["fit", OWN, REFINED, "--profile", str(crowd), "--model", str(tiny_folder), *QUICK]
    assert main([*told, "--data-dir", str(tmp_path / "one")]) == 0
    alone = capsys.readouterr().out
    assert main([*told, "--data-dir", str(tmp_path / "two"), "--ray", address]) == 0
    beside = capsys.readouterr().out
    assert alone.count("held-out loss") == beside.count("held-out loss") == 6
    assert all(beside.count(f"{user}: {arm}: ") == 1 for user in ("anna", "ben", "cleo") for arm in (OWN, REFINED))
    one, two = (sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
                for folder in (tmp_path / "one", tmp_path / "two"))  # fmt: skip
    assert one == two, "no checkpoint is left, and nothing unfinished"
    states = [path for path in one if path.suffix == ".safetensors"]
    assert len(states) == 12, "and each in PEFT's format as well"
    for path in states:
        here, there = load_file(tmp_path / "one" / path), load_file(tmp_path / "two" / path)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[name], there[name]) for name in here), path
    lm = Backbone.load(str(tiny_folder))
    for user, reactions in read_reactions(crowd):  # as a study's pool looks for them
        person = build(user, [(item, signal) for item, signal in reactions if signal])
        assert {missing(lm, ARMS[arm], tmp_path / "two", person) for arm in (OWN, REFINED)} == {None}


def test_who_cannot_be_fitted_is_named(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = people(tmp_path / "crowd.jsonl", anna=8, ben=1)
    told = ["fit", OWN, "--profile", str(crowd), "--model", str(tiny_folder), "--data-dir", str(tmp_path), *QUICK]
    assert main(told) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("ben: ")


# ---- cells of benchmarks


def found(capsys: pytest.CaptureFixture[str], code: int, name: str, *told: object) -> dict[str, Any]:
    capsys.readouterr()
    assert offline.main(name, [*map(str, told), "--json"]) == code
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TAKEN} for row in result["rows"]]


def noted() -> set[Path]:
    """Folders in which clusters that `--ray` starts note what they do."""
    return set(Path(gettempdir()).glob("palate-ray-*"))


def predicted(folder: Path) -> dict[str, str]:
    return {path.name: gzip.decompress(path.read_bytes()).decode() for path in folder.rglob("*.gz")}


@bench
def test_cells_of_people_and_methods_are_those_of_one_process(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ray` alone makes its own cluster. A cell that fails, as a task adapter with one teacher, is told and does not
    stop the rest."""
    pytest.importorskip("ray")
    before = noted()
    judged = [str(n) for n in range(99) if lamp.held_out(str(n))][:4]
    [teacher] = [str(n) for n in range(99) if not lamp.held_out(str(n))][:1]
    tags, places = ("violence", "action", "classic"), ("Rome", "a harbour", "the moon", "a tram")
    questions = []
    for n, person in enumerate([*judged, teacher]):
        profile = [{"id": place, "description": f"A film of {person} in {place}.", "tag": tags[n % 3]}
                   for place in places]  # fmt: skip
        asked = f"Which tag? tags: [{', '.join(tags)}] description: {person} people meet."
        questions.append({"id": person, "input": asked, "user_id": person, "profile": profile})
    golds = {question["id"]: tags[n % 3] for n, question in enumerate(questions)}
    told = ["--data", written(tmp_path / "people", questions, golds), "--model", tiny_folder, "--seeds", 1]
    told += ["--ways", "choice", "--methods", "majority,own commonest,none,history recency k=1,TAM"]
    alone = found(capsys, 1, "lamp", *told, "--work", tmp_path / "one")
    beside = found(capsys, 1, "lamp", *told, "--work", tmp_path / "two", "--ray")
    assert noted() <= before
    assert len(alone["rows"]) == 6
    assert rows(alone) == rows(beside)
    assert alone["failed"] == beside["failed"] != []
    assert predicted(tmp_path / "one") == predicted(tmp_path / "two")
