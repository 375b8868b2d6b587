"""All scorers answer one question: a contract for every one, what the learned ones learn, and where it is kept."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import app
from collectors.item import Item, Signal, write_reactions
from engine.__main__ import main
from engine.backbone import Backbone
from engine.methods import BASES
from engine.optimise import Recipe, TrainError
from engine.profile import Profile, build, narrowed
from engine.recommend import item_lm
from engine.recommend.apart import asked, control, halves, popularity, told_apart, without
from engine.recommend.clusters import catalogue
from engine.recommend.features import edges_of, ranged
from engine.recommend.item_lm import ItemLM, Shop
from engine.recommend.like import Like, columns, rows_of
from engine.recommend.next_text import NextText, likes
from engine.recommend.recommender import Recommender
from engine.recommend.scorer import Scorer, Texts, encoded
from engine.recommend.scorers import JUDGE, NAMES, PLAIN, TAUGHT, scorer
from engine.state import StateError
from studies.__main__ import _parser as studies_parser

PLACES = ("kitchen", "garden", "office", "cellar", "harbour", "library", "station", "market")
CATS = [f"My cat sleeps in the {place} and ignores me {n}." for n, place in enumerate(PLACES * 2)]
TRAINS = [f"The train to the {place} was late again, {n} minutes." for n, place in enumerate(PLACES * 2)]
NEW = ("A cat came into the house and ignored us.", "Another late train, another long platform.")
RECIPES = {
    "item_lm": Recipe(steps=40, batch=8, accumulate=1, lr=1e-2, evaluate_every=20),
    "ctr": Recipe(steps=10, batch=2, accumulate=1, evaluate_every=5),
}


def person(number: int) -> Profile:
    """Whoever has an even number likes cats and dislikes trains, the others the other way round."""
    dice = np.random.default_rng(number)
    good, bad = (CATS, TRAINS) if number % 2 == 0 else (TRAINS, CATS)
    texts = [(text, 1) for text in dice.permutation(good)[:8]] + [(text, -1) for text in dice.permutation(bad)[:6]]
    items = [Item("made", f"{number}-{n}", "joke", str(text)) for n, (text, _) in enumerate(texts)]
    return build(
        f"p{number}", [(i, Signal(i.id, sign)) for i, (_, sign) in zip(items, texts, strict=True)], topics=False
    )


@pytest.fixture(scope="module")
def crowd() -> list[Profile]:
    return [person(n) for n in range(40)]


@pytest.fixture(scope="module")
def states(tiny: Backbone, crowd: list[Profile]) -> dict[str, dict[str, torch.Tensor]]:
    return {name: one.teach(tiny, crowd[:30], crowd[30:], RECIPES[name]).state for name, one in TAUGHT.items()}


@pytest.fixture(params=NAMES)
def every(request: pytest.FixtureRequest, tiny: Backbone, states: dict[str, Any], tmp_path: Path) -> Scorer:
    name: str = request.param
    return TAUGHT[name].knowing(tiny, states[name]) if name in TAUGHT else scorer(name, tiny, tmp_path)


# ---- the contract


def test_each_text_has_a_score_of_its_own_whatever_else_is_asked(every: Scorer, crowd: list[Profile]) -> None:
    texts = encoded([*CATS[:3], *NEW, *TRAINS[:2]])
    found = every.score(crowd[0], texts)
    assert found.shape == (7,)
    assert np.isfinite(found).all()
    assert every.score(crowd[0], texts) == pytest.approx(found, abs=1e-5)
    for n in range(7):
        one = Texts(texts.texts[n : n + 1], texts.vectors[n : n + 1])
        assert every.score(crowd[0], one) == pytest.approx(found[n : n + 1], abs=1e-4)


def test_no_text_has_no_score_and_nobody_is_scored_too(every: Scorer, crowd: list[Profile]) -> None:
    assert every.score(crowd[0], encoded([])).shape == (0,)
    assert np.isfinite(every.score(Profile("new"), encoded(NEW))).all()


@pytest.mark.parametrize("name", [*PLAIN, *TAUGHT])
def test_a_taste_is_found_on_people_who_took_no_part(
    name: str, tiny: Backbone, states: dict[str, Any], crowd: list[Profile], tmp_path: Path
) -> None:
    one = TAUGHT[name].knowing(tiny, states[name]) if name in TAUGHT else scorer(name, tiny, tmp_path)
    questions = asked([person(n) for n in range(100, 120)])
    others = [*(q.profile for q in questions[1:]), questions[0].profile]  # of the other kind
    assert told_apart(one, questions).mean() > 0.9
    assert told_apart(one, questions, others).mean() < 0.5
    mine, theirs = (one.score(person(n), encoded(NEW)) for n in (100, 101))  # of texts that nobody had
    assert mine[0] - mine[1] > theirs[0] - theirs[1]


def test_what_is_liked_by_most_tells_nobody_apart(crowd: list[Profile]) -> None:
    questions = asked([person(n) for n in range(100, 160)])
    assert told_apart(popularity(crowd), questions).mean() == pytest.approx(0.5, abs=0.1)


# ---- halves


def test_a_half_is_asked_about_by_what_the_other_tells(crowd: list[Profile]) -> None:
    first, second = halves(crowd[0])
    assert sorted([*first, *second]) == list(range(14))
    assert halves(crowd[0]) == (first, second)
    [question] = asked(crowd[:1])
    assert {item.text for item in question.profile.items}.isdisjoint(question.items.texts)
    assert question.liked.sum() == 4
    assert len(question.profile.liked) == 4


def test_who_dislikes_nothing_is_asked_about_texts_of_others(crowd: list[Profile]) -> None:
    fond = build("fond", [(item, Signal(item.id, 1)) for item in crowd[0].liked], topics=False)
    questions = asked([fond, crowd[1]])
    strange = [text for text, liked in zip(questions[0].items.texts, questions[0].liked, strict=True) if not liked]
    assert len(strange) == 4
    assert not set(strange) & {item.text for item in fond.items}
    assert len(asked([build("one", [(crowd[0].items[0], Signal(crowd[0].items[0].id, 1))], topics=False)])) == 0


def test_no_count_tells_how_its_own_row_was_rated(crowd: list[Profile]) -> None:
    turned = replace(crowd[0], signals=(replace(crowd[0].signals[0], sign=-1), *crowd[0].signals[1:]))
    with_it, without = (rows_of([who]) for who in (crowd[0], turned))
    own = crowd[0].items[0].text
    for rows in (with_it, without):
        assert len(rows.labels) == 14
    mine = [n for n, which in enumerate(with_it.which) if with_it.items.texts[which] == own]
    other = [n for n, which in enumerate(without.which) if without.items.texts[which] == own]
    assert (with_it.labels[mine], without.labels[other]) == ([1], [0])
    half = halves(crowd[0])
    told = half[1] if 0 in half[0] else half[0]
    told_of = narrowed(crowd[0], told)
    assert with_it.columns["likes"][mine[0]] == columns(told_of, Texts((own,), crowd[0].vectors[:1]))["likes"][0]


def test_what_was_only_met_is_neither_told_nor_asked_about_and_a_text_stands_in_one_half(crowd: list[Profile]) -> None:
    who = crowd[0]
    met = [Item("made", f"met {n}", "joke", f"A goat passed by, the {n}th.") for n in range(4)]
    again = Item("other", "again", "joke", who.items[0].text)
    reactions = list(zip(who.items, who.signals, strict=True))
    more = [*reactions, *((item, Signal(item.id, 0)) for item in met), (again, Signal(again.id, 1))]
    both = build("p0", more, topics=False)
    first, second = halves(both)
    texts = [both.items[row].text for row in (*first, *second)]
    assert sorted(texts) == sorted(item.text for item in who.items)
    assert len(rows_of([both]).labels) == 14
    assert popularity([both]).share.keys() == {item.text for item in who.items}


def test_somebody_elses_half_says_nothing_of_what_is_asked_about(crowd: list[Profile]) -> None:
    """Of people without a taste, who all like what is liked by most, nobody's half may tell."""
    dice = np.random.default_rng(0)
    items = [Item("made", str(n), "joke", text) for n, text in enumerate((*CATS, *TRAINS))]
    often = dice.random(len(items))
    people = [
        build(f"u{n}", [(i, Signal(i.id, 1 if dice.random() < p else -1)) for i, p in zip(items, often, strict=True)],
              topics=False)
        for n in range(60)
    ]  # fmt: skip
    found = control(PLAIN["nearness"], people, asked(people))
    assert abs(found["gain"]) < 4 * found["gain_error"]  # type: ignore[operator]
    [question] = asked(people[:1])
    stranger = without(people[1], question.items.texts)
    assert not {item.text for item in stranger.items} & set(question.items.texts)


def test_a_share_on_an_edge_is_in_the_same_range_as_it_was_taught(tiny: Backbone, crowd: list[Profile]) -> None:
    out = Like().teach(tiny, crowd[:20], crowd[30:], RECIPES["ctr"])
    rows = rows_of(crowd[:20])
    for name, column in rows.columns.items():
        before = ranged(column, edges_of(column).astype(np.float32).astype(float))
        kept = out.state[f"edges.{name}"].double().cpu().numpy()
        assert np.array_equal(ranged(column, kept), before), name


# ---- what is next


def test_a_known_text_has_the_models_own_log_p_and_a_new_one_that_of_a_larger_catalogue(
    tiny: Backbone, crowd: list[Profile], states: dict[str, Any]
) -> None:
    state = states["item_lm"]
    vectors = {i.text: v for who in crowd[:30] for i, v in zip(who.items, who.vectors, strict=True)}
    items = catalogue(tuple(vectors), np.stack([*vectors.values()]))
    method, who = NextText().inner, crowd[30]
    shop = Shop(items, np.zeros(len(items), np.int64), items.ids)
    learned = {name: tensor for name, tensor in state.items() if name not in ("names", "sizes", "middles")}
    history = items.numbers([text for text in likes(who)])
    expected = item_lm.scores(tiny, method, shop, learned, [history])[0]
    known = encoded(items.ids[:9])
    assert TAUGHT["item_lm"].knowing(tiny, state).score(who, known) == pytest.approx(expected[:9], abs=1e-4)
    for text in NEW:
        one = encoded([text])
        larger, old = items.joined([text], one.vectors)
        grown = item_lm.grown(learned, old, larger)
        whole = Shop(larger, np.zeros(len(larger), np.int64), larger.ids)
        said = item_lm.scores(tiny, method, whole, grown, [larger.numbers(likes(who))])[0][larger.numbers([text])]
        assert TAUGHT["item_lm"].knowing(tiny, state).score(who, one) == pytest.approx(said, abs=1e-4)


def test_only_the_latest_likes_are_read(tiny: Backbone, crowd: list[Profile], states: dict[str, Any]) -> None:
    short = NextText(ItemLM(longest=2)).knowing(tiny, states["item_lm"])
    last = build("two", [(i, Signal(i.id, 1)) for i in crowd[0].liked[-2:]], topics=False)
    assert short.score(crowd[0], encoded(NEW)) == pytest.approx(short.score(last, encoded(NEW)), abs=1e-5)


# ---- under an adapter


@pytest.mark.parametrize("name", TAUGHT)
def test_the_adapter_under_a_model_is_there(
    name: str, tiny: Backbone, crowd: list[Profile], states: dict[str, Any]
) -> None:
    [base] = BASES.values()
    torch.manual_seed(0)
    learned = {n: 0.2 * torch.randn_like(t) for n, t in base.born(tiny, np.zeros((0, 0), np.float32)).items()}
    merged, carried = (Backbone(deepcopy(tiny.model), tiny.tokenizer, tiny.name, tiny.plan) for _ in range(2))
    merged.adapt(base.adapter(merged, learned), "jokes")  # type: ignore[attr-defined]
    carried.plan = replace(tiny.plan, quantization="nf4")  # merging is all that it decides here
    carried.adapt(base.adapter(carried, learned), "jokes")  # type: ignore[attr-defined]
    state = {
        k: v + 0.1 * torch.randn_like(v) if k.startswith(("in.", "out.", "open")) else v
        for k, v in states[name].items()
    }
    found = [TAUGHT[name].knowing(lm, state).score(crowd[0], encoded(NEW)) for lm in (merged, carried, tiny)]
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    assert found[0] != pytest.approx(found[2], abs=1e-4)
    assert TAUGHT[name].facts(merged) != TAUGHT[name].facts(tiny)


# ---- kept


def test_learned_by_the_command_it_is_found_again(
    tiny: Backbone, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], crowd: list[Profile]
) -> None:
    write_reactions(tmp_path / "crowd.jsonl", [(p.user, list(zip(p.items, p.signals, strict=True))) for p in crowd])
    lm = Backbone.load(str(tiny_folder), "none")
    for name in TAUGHT:
        with pytest.raises(
            StateError, match=f"{name} has learned nothing yet for .*: run python -m engine learn {name}"
        ):
            scorer(name, lm, tmp_path)
    with pytest.raises(ValueError, match="'best' is no scorer"):
        scorer("best", lm, tmp_path)
    asked_for = ["learn", *TAUGHT, "--population", str(tmp_path / "crowd.jsonl"), "--out", str(tmp_path)]
    assert main([*asked_for, "--steps", "4", "--evaluate-every", "2", "--model", str(tiny_folder)]) == 0
    said = capsys.readouterr().out
    for name in TAUGHT:
        assert f'"recommender": "{name}"' in said
        assert np.isfinite(scorer(name, lm, tmp_path).score(crowd[0], encoded(NEW))).all()
        path = TAUGHT[name].path(lm, tmp_path)
        assert path.with_suffix(".csv").exists()
        assert '"popularity"' in path.with_suffix(".json").read_text()


def test_the_report_has_floors_and_the_wrong_person(tiny: Backbone, crowd: list[Profile]) -> None:
    told = control(PLAIN["nearness"], crowd[:30], asked([person(n) for n in range(100, 120)]))
    assert told["right"] == told["nearness"] > 0.9  # type: ignore[operator]
    assert told["wrong"] < 0.5  # type: ignore[operator]
    assert told["gain"] == pytest.approx(told["right"] - told["wrong"], abs=1e-3)  # type: ignore[operator]


def test_trouble_with_a_population_is_one_sentence(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], crowd: list[Profile]
) -> None:
    def told(name: str, people: list[Profile], *more: str) -> str:
        write_reactions(tmp_path / "some.jsonl", [(p.user, list(zip(p.items, p.signals, strict=True))) for p in people])
        asked_for = ["learn", name, "--population", str(tmp_path / "some.jsonl"), "--out", str(tmp_path), *more]
        assert main([*asked_for, "--steps", "2", "--model", str(tiny_folder)]) == 2
        return capsys.readouterr().err

    fond = [build(p.user, [(i, Signal(i.id, 1)) for i in p.liked], topics=False) for p in crowd]
    assert "ctr cannot learn from these people: all" in told("ctr", fond)
    assert "give four at least" in told("item_lm", crowd[:8])
    assert "are learned from and held out" in told("item_lm", crowd, "--held-out", str(tmp_path / "some.jsonl"))


def test_the_flags_name_all_scorers() -> None:
    [rank] = [action for action in app.flags()._actions if action.dest == "rank"]
    assert tuple(rank.choices or ()) == NAMES
    judges = next(a for a in studies_parser()._actions if isinstance(a.choices, dict)).choices["judge"]  # type: ignore[index]
    [taste] = [action for action in judges._actions if action.dest == "taste"]
    assert tuple(taste.choices) == tuple(name for name in NAMES if name != JUDGE)


@pytest.mark.parametrize(("one", "match"), [(NextText(), "hold out others"), (Like(), "have the label 1")])
def test_what_cannot_be_learned_from_is_said(
    one: Recommender, match: str, tiny: Backbone, crowd: list[Profile]
) -> None:
    items = [Item("made", str(n), "joke", f"A goat numbered {n} came by.") for n in range(6)]
    fond = build("fond", [(item, Signal(item.id, 1)) for item in items], topics=False)
    with pytest.raises((TrainError, ValueError), match=match):
        one.teach(tiny, crowd[:4] if one.name == "item_lm" else [fond], [fond], one.recipe)


def test_the_judge_is_the_local_model(tiny: Backbone, tmp_path: Path, crowd: list[Profile]) -> None:
    judge = scorer(JUDGE, tiny, tmp_path)
    assert judge.score(crowd[0], encoded(NEW)).tolist() == pytest.approx(judge.funny(NEW, crowd[0]), abs=1e-4)  # type: ignore[attr-defined]
