"""The command line of the engine, on the tiny model: learn, fit, generate; trouble is one sentence and status 2."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from collectors.item import Item, Signal, write_reactions
from engine import commands
from engine.__main__ import main
from engine.fitting import FIT
from engine.methods import ARMS
from engine.optimise import Recipe
from tests.names import TAUGHT, UNTAUGHT

QUICK = ["--steps", "2", "--batch", "2", "--accumulate", "1", "--evaluate-every", "1", "--max-target-tokens", "8"]
THINGS = ("ladder", "trumpet", "carpet", "kettle", "window", "bucket", "candle", "hammer")


def rows(user: str, count: int, sign: int = 1, text: str = "The {thing} left the {user} for good {n}."):
    made = []
    for n in range(count):
        said = text.format(thing=THINGS[n % len(THINGS)], user=user, n=n)
        made.append((Item("made", f"{user}{n}", "joke", said), Signal(f"made:{user}{n}", sign)))
    return made


@pytest.fixture
def me(tmp_path: Path) -> Path:
    write_reactions(tmp_path / "me.jsonl", [("me", rows("me", 8))])
    return tmp_path / "me.jsonl"


@pytest.fixture
def run(tiny_folder: Path, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--model", str(tiny_folder)])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return call


def test_what_is_learned_is_fitted_and_writes(run, me: Path, tmp_path: Path) -> None:
    data, crowd = tmp_path / "data", tmp_path / "crowd.jsonl"
    write_reactions(crowd, [(f"user{n}", rows(f"user{n}", 5)) for n in range(40)])
    code, out, _ = run("learn", "e2p", "topics", "--population", crowd, "--out", data, *QUICK)
    assert code == 0
    reports = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    taught = [report["arm"] for report in reports]
    assert taught == [arm for arm, method in ARMS.items() if method.name in ("e2p", "topics")]
    for report in reports:
        assert {"plain", "born_right", "right", "wrong", "population", "judged"} <= report.keys()
        assert report["people"] == 36, "every tenth person is held out"
    code, out, _ = run("fit", "fitted", "--profile", me, "--data-dir", data, *QUICK)
    assert code == 0
    assert "held-out loss" in out
    code, out, err = run("generate", "--profile", me, "--methods", "all", "--topic", "cats", "--n", "2", "--json",
                         "--data-dir", data)  # fmt: skip
    assert code == 0
    written = [json.loads(line) for line in out.splitlines()]
    assert {row["arm"] for row in written} >= {*UNTAUGHT, *taught} - {arm for arm in ARMS if arm.startswith("summary")}
    assert all(sum(row["arm"] == arm for row in written) == 2 for arm in taught)
    assert all(f"{arm}: it has learned nothing yet" in err for arm in TAUGHT
               if ARMS[arm].name in ("persoma", "cross_attention"))  # fmt: skip


@pytest.mark.parametrize("by", ["nearness", "topics", "judge"])
def test_of_several_texts_the_best_is_kept(run, me: Path, tmp_path: Path, by: str) -> None:
    asked = ("generate", "--profile", me, "--methods", "none", "--json", "--data-dir", tmp_path)
    code, out, _ = run(*asked, "--n", 3)
    plain = [json.loads(line) for line in out.splitlines()]
    assert (code, {row["drawn"] for row in plain}) == (0, {1})
    code, out, _ = run(*asked, "--n", 1, "--best-of", 3, "--by", by)
    best = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {row["drawn"] for row in best} == {3}
    for row in best:  # of an arm the texts are those that are drawn in any case
        assert row["text"] in [one["text"] for one in plain if one["arm"] == row["arm"]]


@pytest.mark.parametrize(
    ("reactions", "works"),
    [
        ([(Item("made", "x", "joke", "Nobody rated it."), None)], ["none"]),
        (rows("me", 1), ["none", "history", "reranked"]),
        (rows("me", 6, sign=-1), ["none"]),
        (
            rows("me", 6, text="\u732b\u628a\u6211\u7684\u952e\u76d8\u5f53\u5e8a {n}"),
            ["none", "history", "retrieval", "reranked"],
        ),
        (rows("me", 5, text="word " * 4000 + "{n}"), ["none", "history", "retrieval", "reranked"]),  # 20 kB each
    ],
    ids=["no likes", "one like", "only dislikes", "another script", "20 kB each"],
)
def test_unusual_people_are_written_for_or_told_what_is_missing(run, tmp_path: Path, reactions, works) -> None:
    write_reactions(tmp_path / "me.jsonl", [("me", reactions)])
    code, out, err = run("generate", "--profile", tmp_path / "me.jsonl", "--json", "--data-dir", tmp_path)
    assert code == 0
    wrote = {ARMS[json.loads(line)["arm"]].name for line in out.splitlines()}
    assert set(works) <= wrote <= {*works, "summary"}
    assert all(arm in out or f"{arm}: " in err for arm in ARMS)


def test_a_hundred_thousand_likes_count_by_the_latest(run, tmp_path: Path) -> None:
    texts = [f"{THINGS[n % 8]} {n % 50}" for n in range(100_000)]
    made = [(Item("made", str(n), "joke", text), Signal(f"made:{n}", 1)) for n, text in enumerate(texts)]
    write_reactions(tmp_path / "me.jsonl", [("me", made)])
    code, out, _ = run("generate", "--profile", tmp_path / "me.jsonl", "--methods", "history", "--data-dir", tmp_path)
    assert code == 0
    assert out.startswith("[history-")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["learn", "nonsense", "--population", "ME"], "nonsense is no method"),
        (["learn", "e2p", "--population", "missing.jsonl"], "missing.jsonl"),
        (["fit", "e2p", "--profile", "ME"], "is not fitted to one person: use fitted"),
        (["fit", "fitted", "--profile", "ME"], "there is nothing yet"),
        (["generate", "--profile", "TWO"], "holds 2 people"),
        (["generate", "--profile", "ME", "--best-of", "2", "--by", "ctr"], "ctr has learned nothing yet"),
        (["learn", "e2p", "--population", "ME", "--held-out", "ME"], "are learned from and held out"),
        (["learn", "e2p", "--population", "TWO", "--held-out", "ME"], "give four at least"),
    ],
)
def test_trouble_is_one_sentence(run, me: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    write_reactions(tmp_path / "two.jsonl", [("a", rows("a", 4)), ("b", rows("b", 4))])
    named = {"ME": str(me), "TWO": str(tmp_path / "two.jsonl")}
    where = ["--out" if arguments[0] == "learn" else "--data-dir", tmp_path / "data"]
    code, _, err = run(*(named.get(argument, argument) for argument in arguments), *where)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_the_chain_fits_refines_and_contrasts(run, me: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(commands, "TASK", Recipe(steps=2, batch=2, accumulate=1, evaluate_every=1, max_target_tokens=8))
    monkeypatch.setattr("engine.fitting.FIT", replace(FIT, max_target_tokens=8))
    data, crowd = tmp_path / "data", tmp_path / "crowd.jsonl"
    write_reactions(crowd, [(f"user{n}", rows(f"user{n}", 5)) for n in range(40)])
    code, out, _ = run("cope", "--profile", me, "--population", crowd, "--data-dir", data, "--json")
    assert code == 0
    wrote = [json.loads(line)["arm"] for line in out.splitlines() if line.startswith("{")]
    assert [ARMS[arm].name for arm in wrote] == ["none", "lora", "dpo", "cope", "cope"]
    assert "task-adapted model" in out
    code, again, _ = run("cope", "--profile", me, "--population", crowd, "--data-dir", data, "--json")
    assert code == 0
    assert again.count("fitted to these likes already") == 2
    assert "task-adapted model" not in again
    assert [line for line in again.splitlines() if line.startswith("{")] == [
        line for line in out.splitlines() if line.startswith("{")
    ]
    assert len(list(data.rglob("adapter_model.safetensors"))) == 3, "base, adapter, refined: in PEFT's format as well"


def test_whoever_is_judged_is_not_in_the_population(run, me: Path, tmp_path: Path) -> None:
    crowd = tmp_path / "crowd.jsonl"
    write_reactions(crowd, [(user, rows(user, 5)) for user in ("me", *(f"user{n}" for n in range(40)))])
    code, _, err = run("cope", "--profile", me, "--population", crowd, "--data-dir", tmp_path / "data")
    assert code == 2
    assert "me is among the people" in err
    assert not (tmp_path / "data").exists()
