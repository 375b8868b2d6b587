"""python -m engine.pretrained.ship FOLDER: put the states learned there beside this file, as the first run needs them.

Only what beats its wrong-user control is shipped, in bfloat16, with its provenance; the rest is told.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from engine.learning import PRETRAINED
from engine.state import load, save


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m engine.pretrained.ship", description=__doc__)
    parser.add_argument("folder", type=Path)
    for told in sorted(parser.parse_args().folder.rglob("*.json")):
        report = json.loads(told.read_text())
        gain = report["wrong"] - report["right"]
        better = gain > 0 and report["right"] < report["plain"]
        print(f"{report['arm']}: {gain:+.4f} over the wrong user, {'shipped' if better else 'left out'}")
        if better:
            state = told.with_suffix(".safetensors")
            with safe_open(state, framework="pt") as file:
                facts = file.metadata()
            out = PRETRAINED / f"{report['arm']}.safetensors"
            save(out, load(state, facts), facts, torch.bfloat16)
            out.with_suffix(".json").write_text(told.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
