"""The command of the offline benchmarks: one run, or an experiment with its result kept."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import cluster
from studies.benchmarks import ctr, generation, humour, jester, lamp, lamp_files, movielens, scorers
from studies.benchmarks.lamp_answers import WAYS
from studies.benchmarks.runs import EXPERIMENTS, Benchmark, CannotRun, run, save, settings_of

BENCHMARKS: dict[str, Benchmark] = {
    "ctr": ctr,
    "generation": generation,
    "humour": humour,
    "jester": jester,
    "lamp": lamp,
    "movielens": movielens,
    "scorers": scorers,
}


def main(name: str, arguments: Sequence[str]) -> int:
    """Run one benchmark; returns its exit code: 1 where a cell failed, 2 where it could not begin."""
    benchmark = BENCHMARKS[name]
    options = _parser(name, benchmark).parse_args(arguments)
    try:
        if "fetch" in options and options.fetch:
            task, split = options.fetch
            for said in lamp_files.fetch(task, split, options.data):
                sys.stderr.write(f"{said}\n")
            return 0
        told = _experiment(options.experiment, name) if options.experiment else {}
        told |= {key: value for key, value in vars(options).items() if value is not None and key in _fields(benchmark)}
        settings = settings_of(benchmark, told)
        if "estimate_memory" in options and options.estimate_memory:
            sys.stdout.writelines(f"{line}\n" for line in movielens.memory(settings))
            return 0
        for line in run(benchmark, settings, options.work, options.only, options.ray):
            if isinstance(line, str):
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
                continue
            if options.experiment and not options.json and options.only is None:
                sys.stdout.write(f"{save(line, options.experiment)}\n")
            else:
                sys.stdout.write(f"{json.dumps(line)}\n")
            return int(bool(line["failed"]))
    except (CannotRun, cluster.ClusterError) as error:
        sys.stderr.write(f"{error}\n")
    return 2


def _parser(name: str, benchmark: Benchmark) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m studies.benchmarks {name}", description=benchmark.__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where its files are")
    parser.add_argument(
        "--experiment", metavar="NAME", help="settings of studies/experiments/NAME.json; keep the result"
    )
    parser.add_argument("--limit", type=int, help="how many are judged at most: people, questions or texts")
    parser.add_argument("--seeds", type=int, help="how many seeds, from 0")
    parser.add_argument("--only", type=int, metavar="SEED", help="cells of this seed alone")
    parser.add_argument("--model", help="as in app.py")
    parser.add_argument("--methods", type=_names, metavar="A,B", help="only these rows, with their controls")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("palate-runs"),
        help="cells that are done, and predictions; run at once on one folder, processes share the cells (one of them "
        "keeps an experiment's result, the others take --json)",
    )
    cluster.flag(parser, "compute cells")
    parser.add_argument("--json", action="store_true", help="the result as one JSON line, kept nowhere")
    if name == "humour":
        parser.add_argument("--taught", type=int, help="how many pairs or texts teach at most, of each task")
    if name == "generation":
        parser.add_argument("--states", metavar="DIR", help="a data folder with states (default: as they came)")
        parser.add_argument("--populations", nargs="+", metavar="FILE", help="whom states know: never judged")
        parser.add_argument("--written", type=int, help="texts for each person")
    if name in ("ctr", "movielens"):
        parser.add_argument("--steps", type=int, help="steps in which a language model learns")
    if name == "movielens":
        parser.add_argument(
            "--split", choices=["last", "time"], help="each person's last film, or all after one moment"
        )
        parser.add_argument("--batch", type=int, help="histories in a step of a language model")
        memory = "say what a language model needs while it learns, and end; nothing is loaded"
        parser.add_argument("--estimate-memory", action="store_true", help=memory)
    if name == "lamp":
        parser.add_argument("--train", metavar="DIR", help="files of the people who teach, laid out as those of --data")
        parser.add_argument("--task", help="where the files name another than they hold, as LaMP_2N for news")
        parser.add_argument("--trained", type=_names, metavar="A,B", help='rows whose method learns, or "all"')
        parser.add_argument("--ways", type=_names, metavar="A,B", help=f"how answers are read: {', '.join(WAYS)}")
        fetch = "download a split into --data and end, as LaMP_2_new dev"
        parser.add_argument("--fetch", nargs=2, metavar=("TASK", "SPLIT"), help=fetch)
    return parser


def _names(told: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in told.split(","))


def _experiment(name: str, benchmark: str) -> dict[str, object]:
    path = EXPERIMENTS / f"{name}.json"
    try:
        told: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRun(f"{path} cannot be read as an experiment ({error})") from error
    if told.pop("benchmark", None) != benchmark:
        raise CannotRun(f"{path} is no experiment of {benchmark}")
    told.pop("why", None)
    return told


def _fields(benchmark: Benchmark) -> set[str]:
    return set(benchmark.Settings.__dataclass_fields__)
