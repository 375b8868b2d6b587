"""The head that comes with the project, and that its figures are measured as they say."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from collectors.sample import Sample
from engine import encoder, offence
from engine.offence import DOUBTFUL, HEAD, OFFENSIVE, Rated, fit, of_vectors, read

CRUDE = [
    "Women are too stupid to drive, so why do they even have licences?",
    "All immigrants are criminals and lazy, that is the whole joke.",
    "My wife is so fat and ugly that even the dog would not sleep with her.",
    "Gay men are disgusting, and I told them so in church.",
]
CLEAN = [
    "I told the printer I was in a hurry. It could smell fear.",
    "The bakery closed early. They ran out of thyme and patience.",
    "My plant and I have an agreement: I forget, it dies, we both look away.",
    "I bought a thesaurus and all its pages were blank. I have no words.",
]


def test_crude_texts_lie_above_the_cut_and_clean_ones_below():
    scores = offence.offence(CRUDE + CLEAN)
    assert scores.shape == (8,)
    assert (scores[:4] >= OFFENSIVE).all()
    assert (scores[4:] < DOUBTFUL).all()
    assert ((scores > 0) & (scores < 1)).all()
    assert offence.offence([]).shape == (0,)


def test_it_knows_vectors_and_not_meaning():
    """Questions about something brown are mostly another kind of joke: the price of a linear head, on record."""
    assert offence.offence(["What is brown and sticky? A stick."])[0] >= OFFENSIVE


def test_few_of_the_projects_own_jokes_are_flagged():
    share = (offence.offence([item.text for item, _ in Sample()]) >= OFFENSIVE).mean()
    assert share < 0.08  # 4.4 % when it was fitted


def test_the_head_says_where_it_is_from():
    told = json.loads(HEAD.with_suffix(".json").read_text())
    assert told["encoder"] == encoder.NAME
    assert len(told["data_sha256"]) == 64
    assert told["figures"]["auc_test"] > 0.85
    assert told["recipe"]["offensive_from"] == offence.RATED_OFFENSIVE
    assert {f"at_{cut}" for cut in (OFFENSIVE, DOUBTFUL)} < told["figures"].keys()
    assert HEAD.stat().st_size < 4_000


@pytest.fixture
def made():
    """2,000 texts whose vectors hold the rating in one direction, with noise."""
    rng = np.random.default_rng(0)
    ratings = rng.uniform(0, 5, 2000) ** 2 / 5
    vectors = rng.normal(size=(2000, encoder.WIDTH)).astype(np.float32)
    vectors[:, 7] += 2 * ratings
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    part = np.array(["train", "train", "validation", "test"] * 500)
    return Rated(tuple(map(str, range(2000))), ratings, part), vectors


def test_the_cut_has_the_recall_it_was_asked_for(made):
    rated, vectors = made
    head, figures = fit(rated, lambda texts: vectors)
    assert int(head["weight"].argmax()) == 7
    at = figures[f"at_{OFFENSIVE}"]
    assert 0.9 <= at["recall_validation"] < 0.91
    assert figures["auc_test"] > 0.8
    assert at["precision"] > figures["base_rate_test"]
    assert figures[f"at_{DOUBTFUL}"]["recall"] >= at["recall"]
    bad, test = rated.ratings >= offence.RATED_OFFENSIVE, rated.part == "test"
    flagged = 1 / (1 + np.exp(-(vectors @ head["weight"] + head["bias"]))) >= OFFENSIVE
    assert at["recall"] == pytest.approx(flagged[test & bad].mean(), abs=1e-4)
    assert at["offensive_among_kept"] == pytest.approx(bad[test & ~flagged].mean(), abs=1e-4)


def test_the_figures_are_of_texts_it_was_not_fitted_on(made):
    rated, vectors = made
    shuffled = np.random.default_rng(1).permutation(rated.ratings)
    _, figures = fit(Rated(rated.texts, shuffled, rated.part), lambda texts: vectors)
    assert 0.42 < figures["auc_test"] < 0.58  # on its training part it would be far above


TABLE = "id,text,is_humor,offense_rating\n1,A  joke,1,2.5\n2,news,0,0\n3,a joke,1,1\n4,A joke ,1,0\n"


def test_only_jokes_are_read_each_once_and_the_split_follows_the_text():
    plain = read(TABLE.encode())
    assert (plain.texts, plain.ratings.tolist()) == (("A joke", "a joke"), [2.5, 1.0])
    assert plain.part[0] == plain.part[1]
    assert read(gzip.compress(TABLE.encode())).texts == plain.texts
    parts = read(("text,is_humor,offense_rating\n" + "".join(f"{n},1,0\n" for n in range(1000))).encode()).part
    shares = [(parts == part).mean() for part in ("train", "validation", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04)


def test_the_command_writes_a_head_that_is_used(tmp_path, monkeypatch, made, capsys):
    rated, vectors = made
    table = tmp_path / "rated.csv"
    rows = "".join(f"{text},1,{rating}\n" for text, rating in zip(rated.texts, rated.ratings, strict=True))
    table.write_text("text,is_humor,offense_rating\n" + rows)
    monkeypatch.setattr(offence.fit, "__defaults__", (lambda texts: vectors[[int(text) for text in texts]],))
    monkeypatch.setattr(offence, "HEAD", tmp_path / "head.safetensors")
    assert offence.main(["--data", str(table), "--out", str(offence.HEAD)]) == 0
    told = json.loads((tmp_path / "head.json").read_text())
    assert told["figures"] == json.loads(capsys.readouterr().out)
    assert told["data_sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    offence._head.cache_clear()
    try:
        scores = of_vectors(vectors)
    finally:
        monkeypatch.undo()
        offence._head.cache_clear()
    test = read(table.read_bytes()).part == "test"
    assert told["figures"]["at_0.5"]["flagged"] == pytest.approx((scores[test] >= OFFENSIVE).mean(), abs=1e-4)
