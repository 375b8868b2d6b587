"""What a recommender needs while it learns: reckoned beforehand, within a fifth of what is measured."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.backbone import BackboneError
from engine.plan import Plan
from engine.recommend.memory import Task, configured, needs

MEASURE = """
import json, sys
import numpy as np
from engine.backbone import Backbone
from engine.optimise import Recipe
from engine.recommend.clusters import catalogue
from engine.recommend.item_lm import ItemLM, Shop, born, teach, with_backbone
from engine.recommend.memory import Task, configured, needs

dice, rows, items = np.random.default_rng(0), 6, int(sys.argv[2])
lm, method = Backbone.load(), ItemLM(tuning=sys.argv[1])
stock = catalogue([str(n) for n in range(items)], dice.normal(size=(items, 384)).astype(np.float32))
shop = Shop(stock, np.ones(items, np.int64), ("x",) * items)
told = [dice.permutation(items)[:51] for _ in range(rows)]
state = with_backbone(lm, method, born(lm, method, shop))
recipe = Recipe(steps=2, batch=rows, accumulate=1, lr=1e-3, evaluate_every=2)
teach(lm, method, shop, state, told, [(told[0][:-1], int(told[0][-1]))], recipe)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024  # of this program: ru_maxrss begins at what its parent held
task = Task(items, stock.clusters, rows, 50 + len(lm.tokens(method.told)))
print(json.dumps([needs(*configured(None), method.tuning, task).total, peak]))
"""
TASK = Task(10_000, 400, 16, 58)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's own peak")
@pytest.mark.parametrize(("tuning", "items"), [("frozen", 2000), ("lora", 2000), ("frozen", 60_000)])
def test_it_is_within_a_fifth_of_what_is_measured(tuning: str, items: int) -> None:
    """Of many items a third is theirs, of few the batch is all that counts."""
    command = [sys.executable, "-c", MEASURE, tuning, str(items)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reckoned, measured = json.loads(done.stdout.splitlines()[-1])
    assert reckoned == pytest.approx(measured, rel=0.2)


def test_more_of_anything_needs_more() -> None:
    config, how = configured(None)
    least = needs(config, how, "frozen", TASK).total
    for more in (replace(TASK, items=10**6), replace(TASK, rows=32), replace(TASK, tokens=512)):
        assert needs(config, how, "frozen", more).total > least
    assert least < needs(config, how, "lora", TASK).total < needs(config, how, "full", TASK).total
    quarter = Plan("cuda", torch.bfloat16, "nf4", "")
    assert needs(config, quarter, "frozen", TASK).weights < needs(config, how, "frozen", TASK).weights


def test_it_is_told_in_gigabytes() -> None:
    assert "needs 2." in needs(*configured(None), "frozen", replace(TASK, rows=24)).words()


def test_a_folder_without_a_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BackboneError, match="has no configuration that can be read"):
        configured(str(tmp_path))
