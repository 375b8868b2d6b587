"""The tables of docs/results.md, from the results that are kept, and those of any folder of results. `make tables`
writes the page anew."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from statistics import median
from typing import Any

from studies.benchmarks import offline
from studies.benchmarks.runs import RESULTS, CannotRun
from studies.benchmarks.scores import WRONG

Row = Mapping[str, Any]
PAIRED = "more than with the wrong"  # the difference to the control, its interval from the same questions


def main(arguments: Sequence[str]) -> int:
    """Print the tables of a folder; returns the exit code: 2 where there are none."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{page(options.folder)}\n")
    except CannotRun as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks tables", description=__doc__)
    parser.add_argument("folder", type=Path, help="where results lie, each as --json wrote it")
    return parser


def result(name: str, folder: Path | None = None) -> dict[str, Any]:
    """A result as it was kept; without a folder, one of those that are kept here."""
    told: dict[str, Any] = json.loads(((folder or RESULTS) / f"{name}.json").read_text(encoding="utf-8"))
    return told


def page(folder: Path) -> str:
    """The tables of every result in a folder, as `make bench-gpu` leaves them. Raises CannotRun."""
    parts = []
    for path in sorted(folder.glob("*.json")):
        try:
            table = TABLES[result(path.stem, folder)["benchmark"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CannotRun(f"{path} is no result of {', '.join(TABLES)}: take it out of the folder") from error
        parts.append(f"## {path.stem}\n\n{table(path.stem, folder)}\n\n{provenance(path.stem, folder)}")
    if not parts:
        raise CannotRun(f"{folder} holds no results: name the folder where --json was written to")
    return "\n\n".join(parts)


def provenance(name: str, folder: Path | None = None) -> str:
    """What a reader needs to run it again."""
    told = result(name, folder)
    data = ", ".join(f"{file} {digest}" for file, digest in told["data"].items())
    failed = f"; {len(told['failed'])} cells failed" if told["failed"] else ""
    took, peak = told["wall_seconds"] / 60, _most(told["rows"], "peak_mb") / 1024
    how = f" --experiment {name}" if folder is None else ""
    other = ", ".join(f"{key} {value}" for key, value in _other(told).items()) if folder else ""
    return (
        f"`python -m studies.benchmarks {told['benchmark']}{how} --data DIR`{other and f' with {other}'}: commit "
        f"{told['commit'][:9]}, {told['machine']}, {took:.0f} min of computing, at most {peak:.1f} GB. Data (sha256): "
        f"{data}{failed}"
    )


def _other(told: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults."""
    of = {field.name: field.default for field in fields(offline.BENCHMARKS[told["benchmark"]].Settings)}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in of.items()}
    mine = {key: value for key, value in told["settings"].items() if value != plain[key]}
    return {key: " + ".join(map(str, value)) if isinstance(value, list) else value for key, value in mine.items()}


def jester(name: str = "jester", folder: Path | None = None) -> str:
    rows = result(name, folder)["rows"]
    parts = []
    for protocol, told in (
        ("ratings", "A fifth of all ratings held out"),
        ("jokes", "Jokes that nobody has rated: only their texts are known"),
    ):
        mine = [row for row in rows if row["protocol"] == protocol]
        body = [
            (method, *(_mean(some, key) for key in ("nmae", "rmse", "auc")), _with_halves(some))
            for method, some in _by(mine, "method")
        ]
        if body:
            parts.append(f"**{told}**\n\n{_table(('method', 'NMAE', 'RMSE', 'AUC', 'pair accuracy'), body)}")
    new = [row for row in rows if row["protocol"] == "users"]
    known = sorted({row["known"] for row in new})
    body = [
        (method, *(_with_halves([row for row in some if row["known"] == k]) for k in known))
        for method, some in _by(new, "method")
    ]
    head = ("method", *(f"{k} known" for k in known))
    if body:
        parts.append(f"**New people of whom so many ratings are known: pair accuracy**\n\n{_table(head, body)}")
    if any("pair_accuracy_half_jokes" in row for row in rows):
        parts.append("± over people; in brackets over people and jokes.")
    return "\n\n".join(parts)


def _with_halves(rows: Sequence[Row], key: str = "pair_accuracy") -> str:
    """A mean with half of its interval over people and, where it was computed, over people and jokes."""
    jokes = f"{key}_half_jokes"
    both = f" ({_mean(rows, jokes)})" if rows and all(jokes in row for row in rows) else ""
    return f"{_with_half(rows, key)}{both}"


def lamp(name: str, folder: Path | None = None, beside: Sequence[str] = ()) -> str:
    """A line for each method and way of reading its answer; what the wrong person's past scores stands beside it. What
    other results of the same questions have more stands below. Seconds of training are the median over seeds: some
    runs were held up."""
    rows: list[Row] = []
    for one in (name, *beside):
        known = {(row["method"], row["way"]) for row in rows}
        rows += [row for row in result(one, folder)["rows"] if (row["method"], row["way"]) not in known]
    texts, rated = any("rougeL" in row for row in rows), any("mae" in row for row in rows)
    main, trained = "rougeL" if texts else "accuracy", any("train_seconds" in row for row in rows)
    named = {"rougeL": "ROUGE-L", "accuracy": "accuracy", "rouge1": "ROUGE-1", "bleu": "BLEU"}
    named |= {"macro_f1": "macro-F1", "mae": "MAE", "rmse": "RMSE"}
    named["meteor"] = "METEOR"
    meteor = ("meteor",) if all("meteor" in row for row in rows) else ()
    paired = any("over_wrong" in row for row in rows)
    more = ("rouge1", "bleu", *meteor) if texts else ("macro_f1", *(("mae", "rmse") if rated else ()))
    of: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        of.setdefault((row["method"], row["way"]), []).append(row)
    body = []
    for (method, way), some in of.items():
        if method.endswith(WRONG):
            continue
        wrong = of.get((f"{method}{WRONG}", way))
        body.append(
            (
                method,
                way,
                _with_half(some, main),
                _with_half(wrong, main) if wrong else "",
                *((_with_half(_having(some, "over_wrong"), "over_wrong"),) if paired else ()),
                *(_mean(some, key) for key in more),
                f"{_most(some, 'parse_failures'):.0f} of {some[0]['n']}",
                f"{sum(row['prompt_tokens'] for row in some) / len(some):.0f}",
                f"{_most(some, 'trained_parameters'):,.0f}",
                *((f"{median(row.get('train_seconds', 0) for row in some):.0f}",) if trained else ()),
                *((f"{_most(some, 'without'):.0f}" if "without" in some[0] else "",) if trained else ()),
                _mean(some, "latency") if some[0]["prompt_tokens"] else "",
            )
        )
    told = ("empty",) if texts else ("no label",)
    control = (WRONG.strip(", "), *((PAIRED,) if paired else ()))
    head = ("method", "way", named[main], *control, *(named[key] for key in more), *told)
    took = ("seconds of training", "people without") if trained else ()
    return _table((*head, "prompt tokens", "trained", *took, "seconds a question"), body)


def humour(name: str = "humour", folder: Path | None = None) -> str:
    parts = []
    rows = result(name, folder)["rows"]
    pairs = [row for row in rows if "accuracy_half" in row]
    tasks = list(dict.fromkeys(row["task"] for row in pairs))
    body = [
        (method, *(_with_half([row for row in some if row["task"] == task], "accuracy") for task in tasks))
        for method, some in _by(pairs, "method")
    ]
    if body:
        parts.append(f"**The funnier of two: how often right**\n\n{_table(('method', *tasks), body)}")
    keys = {"headlines": ("rmse", "rank"), "jokes or news": ("auc", "accuracy")}
    head = (
        "method",
        *(
            f"{task}: {key if key in ('rank', 'accuracy') else key.upper()}"
            for task, some in keys.items()
            for key in some
        ),
    )
    body = [
        (
            method,
            *(
                _mean([row for row in some if row["task"] == task and key in row], key)
                for task, some_keys in keys.items()
                for key in some_keys
            ),
        )
        for method, some in _by([row for row in rows if row["task"] in keys], "method")
    ]
    if body:
        parts.append(f"**Single texts**\n\n{_table(head, body)}")
    return "\n\n".join(parts)


def generation(name: str = "generation", folder: Path | None = None) -> str:
    """What a method finds likely, what it writes, and what it costs; beside it what somebody else's profile gives."""
    of = dict(_by(result(name, folder)["rows"], "method"))
    mine = {method: rows for method, rows in of.items() if not method.endswith(WRONG)}
    wrong = {method: of.get(f"{method}{WRONG}", []) for method in mine}
    control = WRONG.strip(", ")

    def halves(method: str, key: str) -> tuple[str, str]:
        return _with_halves(_having(mine[method], key), key), _with_halves(_having(wrong[method], key), key)

    judged = [
        (
            method,
            str(rows[0].get("over", "")),
            *halves(method, "pair_accuracy"),
            _with_half(_having(rows, "over_wrong"), "over_wrong"),
            *halves(method, "gain_accuracy"),
            *(_mean(_having(some, "likelihood"), "likelihood") for some in (rows, wrong[method])),
        )
        for method, rows in mine.items()
        if _having(rows, "pair_accuracy")
    ]
    head: tuple[str, ...] = ("method", "over", "pair accuracy", control, PAIRED, "of what is added", control)
    head = (*head, "log p a token", control)
    parts = [f"**Which of two jokes is this person's**\n\n{_table(head, judged)}"] if judged else []
    keys = ("distinct_1", "distinct_2", "self_bleu", "copied")
    told = [
        (
            method,
            *halves(method, "closeness"),
            *(_mean(_having(rows, key), key) for key in keys),
            f"{rows[0]['texts']}",
            f"{_most(rows, 'empty'):.0f} of {rows[0]['texts']}" if _having(rows, "empty") else "",
        )
        for method, rows in mine.items()
        if _having(rows, "texts")
    ]
    head = ("method", "closeness", control, "distinct-1", "distinct-2", "self-BLEU", "copied", "texts", "empty")
    parts += [f"**What is written**\n\n{_table(head, told)}"] if told else []
    costs = [
        (
            method,
            f"{sum(row['prompt_tokens'] for row in rows) / len(rows):.0f}",
            f"{_most(rows, 'trained_parameters'):,.0f}",
            f"{median(row['train_seconds'] for row in rows):.0f}",
            f"{_most(rows, 'without'):.0f} of {rows[0]['people']}",
            _mean(rows, "latency"),
        )
        for method, rows in mine.items()
        if _having(rows, "latency")
    ]
    trained = ("trained", "seconds of training, for all or a person", "people without")
    head = ("method", "prompt tokens", *trained, "seconds a text")
    return "\n\n".join([*parts, *([f"**What it costs**\n\n{_table(head, costs)}"] if costs else [])])


def movielens(name: str = "movielens", folder: Path | None = None) -> str:
    """A line for each method; what it finds with somebody else's past stands beside it. Seconds of training are the
    median over seeds."""
    of = dict(_by(result(name, folder)["rows"], "method"))
    keys = {"ndcg20": "NDCG@20", "recall10": "Recall@10", "recall20": "Recall@20", "mrr": "MRR"}
    body = [
        (
            method,
            _with_half(rows, "ndcg10"),
            _with_half(of.get(f"{method}{WRONG}", []), "ndcg10"),
            *(_mean(rows, key) for key in keys),
            f"{_most(_having(rows, 'trained_parameters'), 'trained_parameters'):,.0f}",
            f"{median(row.get('train_seconds', 0) for row in rows):.0f}",
            _mean(rows, "latency"),
        )
        for method, rows in of.items()
        if not method.endswith(WRONG)
    ]
    head = ("method", "NDCG@10", WRONG.strip(", "), *keys.values(), "trained", "seconds of training")
    return _table((*head, "seconds a person"), body)


def ctr(name: str = "ctr", folder: Path | None = None) -> str:
    """A line for each method; what it says of somebody else's past stands beside it. Pairs are within a person."""
    of = dict(_by(result(name, folder)["rows"], "method"))
    paired = any("over_wrong" in row for rows in of.values() for row in rows)
    body = []
    for method, rows in of.items():
        if method.endswith(WRONG):
            continue
        wrong = of.get(f"{method}{WRONG}", [])
        body.append(
            (
                method,
                _with_half(rows, "auc"),
                _with_half(wrong, "auc"),
                *(_mean(_having(rows, key), key) for key in ("logloss", "ece", "accuracy")),
                _with_halves(_having(rows, "pair_accuracy")),
                _mean(_having(wrong, "pair_accuracy"), "pair_accuracy"),
                *((_with_half(_having(rows, "over_wrong"), "over_wrong"),) if paired else ()),
                f"{_most(_having(rows, 'trained_parameters'), 'trained_parameters'):,.0f}",
                f"{median(row.get('train_seconds', 0) for row in rows):.0f}",
            )
        )
    control = WRONG.strip(", ")
    head = ("method", "AUC", control, "log-loss", "calibration error", "accuracy", "pair accuracy", control)
    return _table((*head, *((PAIRED,) if paired else ()), "trained", "seconds of training"), body)


def scorers(name: str = "scorers", folder: Path | None = None) -> str:
    """A line for each scorer; what it says with somebody else's half stands beside it."""
    of = dict(_by(result(name, folder)["rows"], "method"))
    body = [
        (
            method,
            *(
                _with_halves(some, protocol)
                for protocol in ("rated", "unseen")
                for some in (rows, of.get(f"{method}{WRONG}", []))
            ),
            f"{rows[0]['people']}",
            f"{_most(_having(rows, 'trained_parameters'), 'trained_parameters'):,.0f}",
            f"{median(row.get('train_seconds', 0) for row in rows):.0f}",
        )
        for method, rows in of.items()
        if not method.endswith(WRONG)
    ]
    control = WRONG.strip(", ")
    head = ("scorer", "jokes others rated", control, "new jokes", control, "people judged", "trained")
    return _table((*head, "seconds of training"), body)


def _having(rows: Sequence[Row], key: str) -> list[Row]:
    return [row for row in rows if key in row]


def _by(rows: Iterable[Row], key: str) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return list(found.items())


def _mean(rows: Sequence[Row], key: str) -> str:
    return _number(sum(row[key] for row in rows) / len(rows)) if rows else ""


def _with_half(rows: Sequence[Row], key: str) -> str:
    """The mean over seeds, and half of the 95 % interval over people."""
    return f"{_mean(rows, key)} ± {_mean(rows, f'{key}_half')}" if rows else ""


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _most(rows: Iterable[Row], key: str) -> float:
    return float(max((row[key] for row in rows), default=0))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[str, Path | None], str]] = {
    "ctr": ctr,
    "generation": generation,
    "humour": humour,
    "jester": jester,
    "lamp": lamp,
    "movielens": movielens,
    "scorers": scorers,
}
