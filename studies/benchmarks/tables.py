"""The tables of docs/results.md, from the results that are kept. `make tables` writes the page anew."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studies.benchmarks.runs import RESULTS
from studies.benchmarks.scores import WRONG

Row = Mapping[str, Any]


def result(name: str) -> dict[str, Any]:
    """A result as it was kept."""
    told: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return told


def provenance(name: str) -> str:
    """What a reader needs to run it again."""
    told = result(name)
    data = ", ".join(f"{file} {digest}" for file, digest in told["data"].items())
    failed = f"; {len(told['failed'])} cells failed" if told["failed"] else ""
    took, peak = told["wall_seconds"] / 60, _most(told["rows"], "peak_mb") / 1024
    return (
        f"`python -m studies.benchmarks {told['benchmark']} --experiment {name} --data DIR`: commit "
        f"{told['commit'][:9]}, {told['machine']}, {took:.0f} min, at most {peak:.1f} GB. Data (sha256): {data}{failed}"
    )


def jester(name: str = "jester") -> str:
    rows = result(name)["rows"]
    parts = []
    for protocol, told in (
        ("ratings", "A fifth of all ratings held out"),
        ("jokes", "Jokes that nobody has rated: only their texts are known"),
    ):
        mine = [row for row in rows if row["protocol"] == protocol]
        body = [
            (method, *(_mean(some, key) for key in ("nmae", "rmse", "auc")), _with_half(some, "pair_accuracy"))
            for method, some in _by(mine, "method")
        ]
        parts.append(f"**{told}**\n\n{_table(('method', 'NMAE', 'RMSE', 'AUC', 'pair accuracy'), body)}")
    new = [row for row in rows if row["protocol"] == "users"]
    known = sorted({row["known"] for row in new})
    body = [
        (method, *(_with_half([row for row in some if row["known"] == k], "pair_accuracy") for k in known))
        for method, some in _by(new, "method")
    ]
    head = ("method", *(f"{k} known" for k in known))
    parts.append(f"**New people of whom so many ratings are known: pair accuracy**\n\n{_table(head, body)}")
    return "\n\n".join(parts)


def lamp(name: str) -> str:
    """A line for each method and way of reading its answer; what the wrong person's past scores stands beside it."""
    rows: list[Row] = result(name)["rows"]
    texts, rated = "rougeL" in rows[0], "mae" in rows[0]
    main, trained = "rougeL" if texts else "accuracy", any("train_seconds" in row for row in rows)
    named = {"rougeL": "ROUGE-L", "accuracy": "accuracy", "rouge1": "ROUGE-1", "bleu": "BLEU"}
    named |= {"macro_f1": "macro-F1", "mae": "MAE", "rmse": "RMSE"}
    more = ("rouge1", "bleu") if texts else ("macro_f1", *(("mae", "rmse") if rated else ()))
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
                *(_mean(some, key) for key in more),
                f"{_most(some, 'parse_failures'):.0f} of {some[0]['n']}",
                f"{sum(row['prompt_tokens'] for row in some) / len(some):.0f}",
                f"{_most(some, 'trained_parameters'):,.0f}",
                *((f"{sum(row.get('train_seconds', 0) for row in some) / len(some):.0f}",) if trained else ()),
                _mean(some, "latency") if some[0]["prompt_tokens"] else "",
            )
        )
    told = ("empty",) if texts else ("no label",)
    head = ("method", "way", named[main], WRONG.strip(", "), *(named[key] for key in more), *told)
    took = ("seconds of training",) if trained else ()
    return _table((*head, "prompt tokens", "trained", *took, "seconds a question"), body)


def humour(name: str = "humour") -> str:
    parts = []
    rows = result(name)["rows"]
    pairs = [row for row in rows if "accuracy_half" in row]
    tasks = list(dict.fromkeys(row["task"] for row in pairs))
    body = [
        (method, *(_with_half([row for row in some if row["task"] == task], "accuracy") for task in tasks))
        for method, some in _by(pairs, "method")
    ]
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
                "" if key not in row else _number(row[key])
                for task, some_keys in keys.items()
                for row in some
                if row["task"] == task
                for key in some_keys
            ),
        )
        for method, some in _by([row for row in rows if row["task"] in keys], "method")
    ]
    parts.append(f"**Single texts**\n\n{_table(head, body)}")
    return "\n\n".join(parts)


def _by(rows: Iterable[Row], key: str) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return list(found.items())


def _mean(rows: Sequence[Row], key: str) -> str:
    return _number(sum(row[key] for row in rows) / len(rows))


def _with_half(rows: Sequence[Row], key: str) -> str:
    """The mean over seeds, and half of the 95 % interval over people."""
    return f"{_mean(rows, key)} ± {_mean(rows, f'{key}_half')}"


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


def _most(rows: Iterable[Row], key: str) -> float:
    return float(max(row[key] for row in rows))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
