"""python -m engine.pretrained.ship FOLDER: put the states learned there beside this file, as the first run needs them.

Each is judged once more, on held-out people's likes that nobody learned from: only what does better with the right
person's profile than with a wrong one's, beyond 1.96 standard errors, is shipped, in bfloat16, with its provenance; the
rest is told. The task-adapted model knows nobody, and has to beat the plain one.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from collectors.item import read_reactions
from engine.backbone import Backbone
from engine.learning import CONTROL, PRETRAINED, control, stand_on, unseen
from engine.methods import ARMS, BASES
from engine.optimise import Recipe
from engine.population import examples, people
from engine.state import load, save


def main() -> int:
    options = _parser().parse_args()
    lm, others = Backbone.load(), people(options.held_out)
    learned = {item.text for _, reactions in read_reactions(options.population) for item, _ in reactions}
    judged = unseen(examples(others, 1, seed=1), learned)
    judged = [judged[i] for i in np.random.default_rng(1).permutation(len(judged))[:CONTROL]]
    vectors = np.concatenate([profile.vectors for profile in others])
    reports = [(json.loads(told.read_text()), told.with_suffix(".safetensors"))
               for told in options.folder.rglob("*.json") if told.parent.suffix != ".peft"]  # fmt: skip
    for report, state in sorted(reports, key=lambda pair: (pair[0]["arm"] not in BASES, pair[0]["arm"])):  # bases first
        method = (ARMS | BASES)[report["arm"]]
        with safe_open(state, framework="pt") as file:
            facts = file.metadata()
        if facts.get("base"):
            stand_on(lm, options.folder)
        if facts.get("base", "") != lm.base_name:
            print(f"{report['arm']}: learned over {facts.get('base') or 'no base'}, left out", flush=True)
            continue
        born, taught = method.born(lm, vectors), load(state, facts)
        report |= control(lm, method, born, taught, judged, Recipe(**report["recipe"]))
        low = report["gain"] - 1.96 * report["gain_error"]
        better = (low > 0 or report["arm"] in BASES) and report["right"] < report["plain"]  # a base knows nobody
        found = " ".join(f"{name} {report[name]:.4f}" for name in ("plain", "born_right", "right", "wrong"))
        gain = f"gain {report['gain']:+.4f} +- {1.96 * report['gain_error']:.4f}"
        print(f"{report['arm']}: {found}, {gain}, {'shipped' if better else 'left out'}", flush=True)
        if better:
            out = PRETRAINED / f"{report['arm']}.safetensors"
            save(out, taught, facts, torch.bfloat16)
            out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.pretrained.ship", description=__doc__)
    parser.add_argument("folder", type=Path, help="what `python -m engine learn` was given as --out")
    parser.add_argument("--population", type=Path, required=True, help="what was learned from")
    parser.add_argument("--held-out", type=Path, required=True, help="who judges")
    return parser


if __name__ == "__main__":
    sys.exit(main())
