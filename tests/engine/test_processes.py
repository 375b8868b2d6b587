"""Two processes that `accelerate launch` starts learn what one learns."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from collectors.item import Item, Signal, write_reactions
from engine import processes
from engine.__main__ import main
from engine.methods.base import State

ROOT = Path(__file__).parents[2]
THINGS = ("ladder", "trumpet", "carpet", "kettle")
QUICK = ["--steps", "5", "--batch", "2", "--accumulate", "3", "--evaluate-every", "2", "--max-target-tokens", "8"]
# `--multi_gpu` is what it calls several processes on CPUs as well; with `--cpu` it starts one, unless by mpirun
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "engine"]


@pytest.mark.timeout(600)  # three more processes load the libraries
def test_two_processes_learn_what_one_learns(tiny_folder: Path, tmp_path: Path) -> None:
    """Gated blocks have no dropout, which each process draws for itself: but for the order of sums all is the same."""
    crowd = []
    for n in range(40):
        texts = [(f"{n}-{thing}", f"The {thing} left number {n} for good.") for thing in THINGS]
        crowd.append((f"user{n}", [(Item("made", i, "joke", text), Signal(f"made:{i}", 1)) for i, text in texts]))
    write_reactions(tmp_path / "crowd.jsonl", crowd)
    learning = ["learn", "cross_attention", "--population", str(tmp_path / "crowd.jsonl"), "--model", str(tiny_folder)]
    assert main([*learning, *QUICK, "--out", str(tmp_path / "one")]) == 0
    launched = [sys.executable, *LAUNCH, *learning, *QUICK, "--out", str(tmp_path / "two")]
    done = subprocess.run(launched, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes share") == done.stdout.count('"ended": "all steps done"') == 1, "once told"
    one, two = ([*(tmp_path / out).rglob("*.safetensors")] for out in ("one", "two"))
    assert [path.relative_to(tmp_path / "one") for path in one] == [path.relative_to(tmp_path / "two") for path in two]
    told = [json.loads(path.with_suffix(".json").read_text()) for path in (*one, *two)]
    assert [report["processes"] for report in told] == [1, 2]
    assert told[0]["right"] == pytest.approx(told[1]["right"], abs=2e-4)
    curves = [np.genfromtxt(path.with_suffix(".csv"), delimiter=",", skip_header=1) for path in (*one, *two)]
    assert np.allclose(*curves, atol=1e-4, equal_nan=True)
    # as one vector: of a key's bias the gradient is what rounding leaves, and Adam walks it at random
    alone, shared = (torch.cat([t.flatten() for _, t in sorted(load_file(path).items())]) for path in (*one, *two))
    assert (shared - alone).norm() < 2e-3 * alone.norm()
    assert not [*tmp_path.rglob("*.checkpoint")]


def begun() -> State:
    born = {"table": torch.zeros(6, 2), "used": torch.ones(3), "by one": torch.ones(2), "by none": torch.ones(2)}
    return {name: tensor.requires_grad_() for name, tensor in born.items()}


def gradients(live: State) -> float:
    """Rows of a table that are looked up, some by both, a tensor that one example needs, and one that none needs."""
    total = 0.0
    for n in processes.share([1, 3, 5, 3, 0]):
        row = torch.nn.functional.embedding(torch.tensor([n, n]), live["table"], sparse=True)
        loss = ((row - n) ** 2).sum() + (live["used"] * n).square().sum() + (live["by one"].sum() if n == 5 else 0)
        loss.backward()
        total += float(loss.detach())
    return processes.add_gradients(live, total, {"table", "not learned now"})


def part(rank: int, folder: Path) -> None:
    """What one of two processes does."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

    def refuse() -> None:
        raise ValueError(f"said by {rank}")

    live = begun()
    if rank:
        torch.nn.init.zeros_(live["used"])
    processes.alike(live)
    with pytest.raises(ValueError, match="said by 0"):
        processes.once(refuse)
    found = {"rank": processes.once(lambda: rank), "total": processes.total(rank + 1), "loss": gradients(live)}
    torch.save(found | {name: tensor.grad for name, tensor in live.items()}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_gradients_of_two_are_those_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(part, (tmp_path,), nprocs=2)
    live = begun()
    loss = gradients(live)
    for found in (torch.load(tmp_path / f"{rank}.pt") for rank in range(2)):
        assert (found["rank"], found["total"], found["loss"]) == (0, 3, pytest.approx(loss))
        assert found["by none"] is live["by none"].grad is None, "so that no weight decay touches it"
        assert torch.equal(found["by one"], live["by one"].grad)
        assert torch.allclose(found["used"], live["used"].grad)
        assert found["table"].is_sparse
        assert torch.allclose(found["table"].to_dense(), live["table"].grad.to_dense())


def test_one_alone_takes_all() -> None:
    assert (processes.size(), processes.rank(), processes.first()) == (1, 0, True)
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.total(2) == processes.once(lambda: 2) == processes.first_says(2) == 2
