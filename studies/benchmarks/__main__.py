"""python -m studies.benchmarks speed|crash|load|adapters|tagging|profile|exports [--json]: measure what is here.
python -m studies.benchmarks jester|humour|lamp|generation|movielens|ctr|scorers --data DIR: the offline benchmarks.
python -m studies.benchmarks hierarchy|feed --json: what a large catalogue and a large feed cost.
python -m studies.benchmarks soak --minutes 30 --visitors 20 --json: does it hold with many visitors?
python -m studies.benchmarks writers --data DIR --out DIR: lay out a set of texts for `lamp`.
python -m studies.benchmarks tables FOLDER: the tables of what they wrote."""

import argparse
import json
import sys
from pathlib import Path

from studies.benchmarks import (
    adapters,
    arithmetic,
    crash,
    exports,
    feed,
    hierarchy,
    lamp_writers,
    load,
    offline,
    profile,
    soak,
    speed,
    tables,
    tagging,
)

MAINS = {
    "feed": feed.main,
    "hierarchy": hierarchy.main,
    "soak": soak.main,
    "tables": tables.main,
    "writers": lamp_writers.main,
}


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in offline.BENCHMARKS:
        raise SystemExit(offline.main(sys.argv[1], sys.argv[2:]))
    if sys.argv[1:2] and sys.argv[1] in MAINS:
        raise SystemExit(MAINS[sys.argv[1]](sys.argv[2:]))
    parser = _parser()
    options = parser.parse_args()
    if options.what == "adapters":
        if not options.jester:
            parser.error("adapters needs --jester")
        asked = (options.data_dir, options.people, options.fitted, options.seeds)
        for line in adapters.run(options.jester, options.populations, *asked):
            print(line, flush=True)
        return
    if options.what == "exports":
        if not options.data:
            parser.error("exports needs --data")
        lines = list(exports.run(options.data))
        print("\n".join(lines))
        raise SystemExit(not lines[-1].startswith("0 of"))
    if options.what == "tagging":
        if not options.tags:
            parser.error("tagging needs --tags")
        for line in tagging.run(options.tags, options.fitted, options.seeds):
            print(line, flush=True)
        return
    flags = ["--model", options.model] if options.model else []
    if options.what == "speed":
        found = {**speed.run(*flags), **arithmetic.run(options.model)}
    elif options.what == "load":
        found = load.run()
    elif options.what == "profile":
        found = profile.run()
    else:
        found = crash.run(options.times, *flags)
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks", description=__doc__)
    parser.add_argument(
        "what", choices=["speed", "crash", "load", "adapters", "tagging", "profile", "exports"], help="what is measured"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.add_argument("--times", type=int, default=100, help="kills of `crash`")
    parser.add_argument("--model", help="as in app.py")
    parser.add_argument("--jester", type=Path, help="folder with jokes.csv and ratings.csv.gz, for `adapters`")
    parser.add_argument("--tags", type=Path, help="folder with questions.json.gz and outputs.json, for `tagging`")
    parser.add_argument("--populations", type=Path, nargs="+", default=[], help="whom `adapters` must not judge")
    parser.add_argument("--data-dir", type=Path, default=Path("palate-data"), help="where its task adapter is")
    parser.add_argument("--data", type=Path, help="folder of the synthetic exports, for `exports`")
    parser.add_argument("--people", type=int, default=100, help="who are judged by `adapters`")
    parser.add_argument("--fitted", type=int, default=20, help="of them, with adapters of their own")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    return parser


if __name__ == "__main__":
    main()
