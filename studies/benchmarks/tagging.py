"""What an adapter of one's own is worth where people differ: tags that real people gave to films (LaMP-2's task).

Three people of ten are held out, by their id, and with them every film that one of them is judged on: the task-adapted
model learns from the others' tags of other films. Each held-out person's adapters learn from their earlier tags and are
judged on their latest. Three figures a person: log p of the tag they gave, among all tags; how many of the other tags
it leaves behind; how often it is first of all. Floors: the tag that most people give, that the film got from the others
and that this person gave most; the model without and with the task adapter. Control: the adapter of somebody else.
Intervals are over people. Not LaMP: never beside its published figures.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.backbone import Backbone
from engine.fitting import Lessons, apart, fit, recipe_for
from engine.learning import says
from engine.methods.base import Ask, Method, State
from engine.methods.dpo import DPO
from engine.methods.lora import TAM, LoRA
from engine.methods.none import NoProfile
from engine.optimise import Recipe
from engine.profile import Profile
from engine.state import content
from engine.train import Example, each, train
from studies.benchmarks.adapters import LAMBDA, Figures, table

TASK = Recipe(steps=150, lr=1e-3, evaluate_every=25, max_target_tokens=12)
MOST_OF_ONE = 40  # tags of one person that the task adapter learns from
MOST_LEARNED, MOST_JUDGED = 24, 4  # tags of one person, the latest
LEAST_LEARNED = 5
DESCRIPTION = 96  # tokens
READ = Recipe(batch=15, max_target_tokens=12)

Scores = dict[tuple[str, str], float]  # (question, tag) -> a log-likelihood, up to a constant of the question


@dataclass(frozen=True, eq=False)
class Tagger:
    """One person: films they tagged (a question each, and the tag), earlier ones and the latest."""

    user: str
    earlier: tuple[tuple[str, str], ...]
    latest: tuple[tuple[str, str], ...]


def taggers(folder: Path, lm: Backbone) -> tuple[list[Tagger], list[Tagger], list[str]]:
    """People who teach the task, people who are judged, and all tags; descriptions are cut to fit."""
    with gzip.open(folder / "questions.json.gz", "rt") as file:
        questions = json.load(file)
    golds = {row["id"]: row["output"] for row in json.loads((folder / "outputs.json").read_text())["golds"]}
    head = questions[0]["input"].split("description:")[0]
    tags = head.partition("[")[2].partition("]")[0].split(", ")

    def question(description: str) -> str:
        return f"{head}description: {lm.cut(description, DESCRIPTION)}"

    by_user: dict[str, list[dict[str, Any]]] = {}
    for row in questions:
        by_user.setdefault(str(row["user_id"]), []).append(row)
    people = []
    for user, rows in by_user.items():
        past = sorted(rows[0]["profile"], key=lambda entry: entry["date"])
        earlier = [(question(entry["description"]), entry["tag"]) for entry in past]
        latest = [(question(row["input"].partition("description: ")[2]), golds[row["id"]]) for row in rows]
        people.append(Tagger(user, tuple(earlier), tuple(latest[-MOST_JUDGED:])))
    people.sort(key=lambda person: hashlib.sha256(f"tagging|{person.user}".encode()).digest())
    judged = [person for person in people if _judged(person.user)]
    return [person for person in people if not _judged(person.user)], judged, tags


def _judged(user: str) -> bool:
    return int(hashlib.sha256(f"palate-tags|{user}".encode()).hexdigest(), 16) % 100 >= 70


def made(user: str, rows: Sequence[tuple[str, str]]) -> list[Example]:
    person = Profile(f"tagger-{user}")
    return [Example(person, Ask(kind="task", payload=question, max_new_tokens=8), tag) for question, tag in rows]


def run(folder: Path, fitted: int, seeds: int) -> Iterator[str]:
    """Lines of JSON: the task adapter, one a fit, and after each seed the table so far."""
    plain, based = Backbone.load(), Backbone.load()
    others, judged, tags = taggers(folder, plain)
    films = {question for person in judged for question, _ in person.latest}
    given_by = [[row for row in (*one.earlier, *one.latest) if row[0] not in films][-MOST_OF_ONE:] for one in others]
    rows = [made(one.user, tagged) for one, tagged in zip(others, given_by, strict=True)]
    stop = [example for one in rows[::10] for example in one]
    learned = [example for i, one in enumerate(rows) if i % 10 for example in one]
    born = TAM.born(plain, np.zeros((0, 0), np.float32))
    task = train(plain, says(plain, TAM), born, learned, stop, TASK)
    based.adapt(TAM.adapter(based, task.state), f"tags:{content(task.state)[:8]}")
    yield json.dumps({"task": len(learned), "before": round(task.before, 4), "after": round(task.after, 4),
                      "ended": task.ended, "seconds": round(task.seconds)})  # fmt: skip
    none, tam = (scored(lm, NoProfile(), {}, judged, tags) for lm in (plain, based))
    tagged = Counter(row for person in others for row in (*person.earlier, *person.latest))
    # those with enough to learn from stand first: the table's floors are of all, and of these
    judged.sort(key=lambda person: len(person.earlier) < LEAST_LEARNED)
    few = [person for person in judged if len(person.earlier) >= LEAST_LEARNED][:fitted]
    everybody = {
        "everybody's tag": [figures(counted(person, tags, tagged), person, tags) for person in judged],
        "the film's tag": [figures(counted(person, tags, tagged, film=True), person, tags) for person in judged],
        "own tag": [figures(counted(person, tags, tagged, own=True), person, tags) for person in judged],
        "none": [figures(none, person, tags) for person in judged],
        "tam": [figures(tam, person, tags) for person in judged],
    }
    found: dict[str, list[list[Figures]]] = {}
    for seed in range(seeds):
        states = [LoRA().born(based, np.zeros((0, 0), np.float32)) for _ in few]
        for method in (LoRA(), DPO()):  # each goes on from the one before
            for n, person in enumerate(few):
                given = Lessons(*apart(made(person.user, person.earlier[-MOST_LEARNED:])))
                recipe = replace(recipe_for(method, len(given.taught)), seed=seed)
                out = fit(based, method, given, states[n], recipe)
                states[n] = out.state
                yield json.dumps({"seed": seed, "user": person.user, "method": method.name,
                                  "before": round(out.before, 4), "after": round(out.after, 4),
                                  "seconds": round(out.seconds, 1)})  # fmt: skip
            for n, person in enumerate(few):
                mine = scored(based, method, states[n], [person], tags)
                wrong = scored(based, method, states[n - 1], [person], tags)
                contrast = {pair: score - LAMBDA * tam[pair] for pair, score in mine.items()}
                for name, scores in {"": mine, ", wrong person": wrong, ", contrasted": contrast}.items():
                    of = found.setdefault(method.name + name, [[] for _ in few])
                    of[n].append(figures(scores, person, tags))
        yield json.dumps({"people": len(judged), "fitted": len(few), "seeds": seed + 1,
                          "table": table(everybody, found)})  # fmt: skip


def scored(lm: Backbone, method: Method, state: State, people: Sequence[Tagger], tags: Sequence[str]) -> Scores:
    """The log-likelihood of every tag as the answer to every one of these people's latest questions."""
    pairs = [(question, tag) for person in people for question, _ in person.latest for tag in tags]
    loss, tokens = each(lm, says(lm, method), state, made(people[0].user, pairs), READ)
    return {pair: -float(loss[i] * tokens[i]) for i, pair in enumerate(pairs)}


def counted(
    person: Tagger, tags: Sequence[str], tagged: Mapping[tuple[str, str], int], *, film: bool = False, own: bool = False
) -> Scores:
    """log of how often a tag is given: by all others, and, far above that, by others to this film or by this person."""
    everybody: Counter[str] = Counter(dict.fromkeys(tags, 1))
    for (_, tag), times in tagged.items():
        everybody[tag] += times
    mine = Counter(tag for _, tag in person.earlier[-MOST_LEARNED:])
    scores = {}
    for question, _ in person.latest:
        for tag in tags:
            of_this = tagged.get((question, tag), 0) * film + mine[tag] * own
            scores[question, tag] = float(np.log(of_this + everybody[tag] / everybody.total()))
    return scores


def figures(scores: Scores, person: Tagger, tags: Sequence[str]) -> Figures:
    """Means over the person's latest questions."""
    found = []
    for question, gold in person.latest:
        score, all_ = scores[question, gold], np.array([scores[question, tag] for tag in tags])
        others = np.array([scores[question, tag] for tag in tags if tag != gold])
        above = (score > others) + (score == others) / 2
        found.append((score - np.logaddexp.reduce(all_), float(above.mean()), float((score > others).all())))
    return dict(zip(("likelihood", "accuracy", "first"), np.mean(found, 0).tolist(), strict=True))
