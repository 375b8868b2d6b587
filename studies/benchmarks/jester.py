"""Jester: a person's rating of a joke from their other ratings and from the jokes' texts (scale -10 to 10).

Three protocols. `ratings`: a fifth of all ratings is held out. `users`: people of whom 0, 3, 5, 10 or 20 ratings are
known, judged on ten others. `jokes`: five times a fifth of the jokes is taken away from everybody, and only their texts
are known. Floors and the classic predictors stand in the same table as those that read.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from engine import encoder
from engine.backbone import Backbone
from engine.recommend.local_judge import LocalJudge
from studies.benchmarks.jester_intervals import half_over_both, half_over_people
from studies.benchmarks.rows import ALL, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done
from studies.benchmarks.scores import Floats, of_ratings

SPAN = 20.0
KNOWN = (0, 3, 5, 10, 20)
FOLDS, JUDGED = 5, 10
NOISE = 4.0  # variance of a rating around what somebody thinks (Gaussian predictor)
BIAS_RIDGE = 5.0  # ratings that draw a user's or joke's bias to 0
Predict = Callable[["Split"], Floats]


@dataclass(frozen=True, slots=True)
class Settings:
    """`limit` people, the first by the hash of their id: a smaller run judges some of the larger one's. What is fixed
    here was chosen on 4,000 people beyond the first 5,000, who are judged nowhere (docs/log.md, 2026-11-25)."""

    data: Path
    limit: int = 5000
    seeds: int = 3
    als_ridge: float = 0.3
    text_ridge: float = 100.0  # of one's own text kernel: the variance that no text explains
    model: str = ""  # of the judge
    methods: tuple[str, ...] = ALL


@dataclass(frozen=True, eq=False)
class Split:
    """Ratings (U, J), nan for none: `known` ones teach, `held` ones judge. `vectors` (J, E) are of the jokes' texts,
    `texts` the jokes; a predictor's answer is (U, J)."""

    known: Floats
    held: Floats
    vectors: Floats
    texts: tuple[str, ...]
    seed: int
    settings: Settings


def files(settings: Settings) -> list[Path]:
    found = [settings.data / name for name in ("jokes.csv", "ratings.csv.gz")]
    for path in found:
        if not path.is_file():
            raise CannotRun(f"{path} is not there: --data is the folder with jokes.csv and ratings.csv.gz")
    return found


def cells(settings: Settings) -> Iterator[Cell]:
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    for seed in range(settings.seeds):
        for name, predict in PREDICTORS.items():
            of = {"method": name, "seed": seed}
            if name in RATED:
                yield Cell({"protocol": "ratings", **of}, _cell(settings, seed, predict, held_ratings))
                for k in KNOWN:
                    yield Cell({"protocol": "users", "known": k, **of}, _cell(settings, seed, predict, _new_users(k)))
            if name in UNSEEN:
                yield Cell({"protocol": "jokes", **of}, _unseen(settings, seed, predict))


# ---- data and splits


@cache
def table(folder: Path, users: int) -> tuple[Floats, Floats, tuple[str, ...]]:
    """Ratings (U, J), vectors (J, E) of the jokes, and their texts. Raises CannotRun."""
    try:
        rated = pd.read_csv(folder / "ratings.csv.gz")
        jokes = pd.read_csv(folder / "jokes.csv").set_index("joke_id")["text"]
        wide = rated.pivot(index="user_id", columns="joke_id", values="rating")
    except (KeyError, ValueError) as error:
        raise CannotRun(f"the files in {folder} are not Jester's ratings and jokes: {error}") from error
    order = sorted(wide.index, key=lambda user: hashlib.sha256(f"palate-jester|{user}".encode()).digest())
    wide = wide.loc[order[:users]]
    texts = tuple(str(jokes[joke]) for joke in wide.columns)
    return wide.to_numpy(float), np.asarray(encoder.encode(texts), float), texts


def held_ratings(settings: Settings, seed: int) -> Split:
    rated, vectors, texts = table(settings.data, settings.limit)
    held = np.random.default_rng(seed).random(rated.shape) < 0.2
    return Split(np.where(held, np.nan, rated), np.where(held, rated, np.nan), vectors, texts, seed, settings)


def _new_users(k: int) -> Callable[[Settings, int], Split]:
    def split(settings: Settings, seed: int) -> Split:
        rated, vectors, texts = table(settings.data, settings.limit)
        rng = np.random.default_rng([seed, 1])
        known, held = rated.copy(), np.full_like(rated, np.nan)
        for user in rng.permutation(len(rated))[: len(rated) // 5]:
            jokes = rng.permutation(np.flatnonzero(~np.isnan(rated[user])))  # the same ones whatever k is
            held[user, jokes[:JUDGED]] = rated[user, jokes[:JUDGED]]
            known[user] = np.nan
            known[user, jokes[JUDGED : JUDGED + k]] = rated[user, jokes[JUDGED : JUDGED + k]]
        return Split(known, held, vectors, texts, seed, settings)

    return split


def folds(settings: Settings, seed: int) -> Iterator[Split]:
    rated, vectors, texts = table(settings.data, settings.limit)
    jokes = np.random.default_rng([seed, 2]).permutation(rated.shape[1])
    for part in np.array_split(jokes, FOLDS):
        away = np.isin(np.arange(rated.shape[1]), part)
        yield Split(np.where(away, np.nan, rated), np.where(away, rated, np.nan), vectors, texts, seed, settings)


def _cell(
    settings: Settings, seed: int, predict: Predict, make: Callable[[Settings, int], Split]
) -> Callable[[], Done]:
    def computed() -> Done:
        split = make(settings, seed)
        return _done([(split.held, predict(split))])

    return computed


def _unseen(settings: Settings, seed: int, predict: Predict) -> Callable[[], Done]:
    return lambda: _done([(split.held, predict(split)) for split in folds(settings, seed)])


def _done(found: list[tuple[Floats, Floats]]) -> Done:
    """Pairs are within a user and a fold: jokes of two folds were predicted by different models."""
    rows, offset = [], 0
    for held, predicted in found:
        user, joke = np.nonzero(~np.isnan(held))
        rows.append((user + offset, joke, held[user, joke], np.clip(predicted[user, joke], -10, 10)))
        offset += len(held)
    user, joke, truth, said = (np.concatenate(part) for part in zip(*rows, strict=True))
    people = len(found[0][0])
    figures = of_ratings(truth, said, user, span=SPAN)
    figures["pair_accuracy_half"] = half_over_people(truth, said, user, people)
    figures["pair_accuracy_half_jokes"] = half_over_both(truth, said, user, joke, people)
    lines = zip(user.tolist(), joke.tolist(), truth.tolist(), said.round(3).tolist(), strict=True)
    return Done(figures, lines)


# ---- floors


def at_random(split: Split) -> Floats:
    return np.random.default_rng([split.seed, 3]).uniform(-10, 10, split.known.shape)


def one_number(split: Split) -> Floats:
    return np.full(split.known.shape, np.nanmedian(split.known))


def joke_mean(split: Split) -> Floats:
    return np.tile(_joke_means(split), (len(split.known), 1))


def user_mean(split: Split) -> Floats:
    mean = np.nanmean(split.known)
    count = (~np.isnan(split.known)).sum(1)
    own = np.where(count, np.nansum(split.known, 1) / np.maximum(count, 1), mean)
    return np.tile(own[:, None], (1, split.known.shape[1]))


def biases(split: Split) -> Floats:
    """Mean, joke and user, each drawn to 0 by BIAS_RIDGE ratings."""
    there = ~np.isnan(split.known)
    mean = np.nanmean(split.known)
    joke = np.nansum(split.known - mean, 0) / (there.sum(0) + BIAS_RIDGE)
    user = np.nansum(split.known - mean - joke, 1) / (there.sum(1) + BIAS_RIDGE)
    return np.asarray(mean + joke + user[:, None])


def _joke_means(split: Split) -> Floats:
    """Of each joke (J,); of one that nobody rated here, the mean of all."""
    count = (~np.isnan(split.known)).sum(0)
    mean = np.nansum(split.known, 0) / np.maximum(count, 1)
    return np.where(count, mean, np.nanmean(split.known))


# ---- by other people's ratings


def item_knn(split: Split) -> Floats:
    """LensKit's item-based neighbours (20) on what the biases leave."""
    from lenskit.knn import ItemKNNScorer

    base = biases(split)
    left = _by_library(ItemKNNScorer(max_nbrs=20, feedback="explicit"), split.known - base)
    return base + np.nan_to_num(left)


def als(split: Split) -> Floats:
    """LensKit's biased matrix factorisation by alternating least squares, ten factors."""
    from lenskit.als import BiasedMFScorer

    found = _by_library(
        BiasedMFScorer(features=10, damping=BIAS_RIDGE, regularization=split.settings.als_ridge), split.known
    )
    return np.where(np.isnan(found), biases(split), found)


def _by_library(scorer: object, known: Floats) -> Floats:
    from lenskit.data import ItemList, RecQuery, from_interactions_df
    from lenskit.training import TrainingOptions

    user, joke = np.nonzero(~np.isnan(known))
    rated = pd.DataFrame({"user_id": user, "item_id": joke, "rating": known[user, joke]})
    scorer.train(from_interactions_df(rated), TrainingOptions(rng=0))  # type: ignore[attr-defined]
    everything = ItemList(item_ids=np.arange(known.shape[1]))
    found = np.full(known.shape, np.nan)
    for u in range(len(known)):
        mine = np.flatnonzero(~np.isnan(known[u]))
        query = RecQuery(user_id=u, user_items=ItemList(item_ids=mine, rating=known[u, mine]))
        found[u] = scorer(query, everything).scores()  # type: ignore[operator]
    return found


def gaussian(split: Split) -> Floats:
    """A person as a draw from everybody's ratings: joke means and their covariance, given what is known of them."""
    mean = _joke_means(split)
    off = np.where(np.isnan(split.known), 0.0, split.known - mean)
    there = (~np.isnan(split.known)).astype(float)
    together = there.T @ there
    covariance = (off.T @ off) / np.maximum(together, 1)
    values, basis = np.linalg.eigh(covariance)  # pairwise means need not be a covariance: negative ones are cut
    covariance = (basis * np.maximum(values, 0)) @ basis.T
    return _conditioned(split.known - mean, covariance, NOISE) + mean


def _conditioned(left: Floats, kernel: Floats, noise: float) -> Floats:
    """Posterior means (U, J) of zero-mean Gaussians of this kernel (J, J), given what is there of `left` (U, J)."""
    found = np.zeros(left.shape)
    for u, row in enumerate(left):
        mine = np.flatnonzero(~np.isnan(row))
        if len(mine):
            within = kernel[np.ix_(mine, mine)] + noise * np.eye(len(mine))
            found[u] = kernel[:, mine] @ np.linalg.solve(within, row[mine])
    return found


# ---- by the texts


def text_mean(split: Split) -> Floats:
    """A joke's mean as foretold by its text: ridge regression on the encoder's vectors, by generalised cross-validation
    over the jokes that were rated."""
    from sklearn.linear_model import RidgeCV

    rated = (~np.isnan(split.known)).any(0)
    model = RidgeCV(np.logspace(-2, 4, 25)).fit(split.vectors[rated], _joke_means(split)[rated])
    return np.asarray(np.tile(model.predict(split.vectors), (len(split.known), 1)))


def own_texts(split: Split) -> Floats:
    """What the texts of one's own jokes say, beside one's mean."""
    mean = user_mean(split)
    return mean + _conditioned(split.known - mean, _kernel(split), split.settings.text_ridge)


def text_mean_and_own(split: Split) -> Floats:
    """The joke's mean as foretold by its text, one's own mean, and the texts of one's own jokes."""
    base: Floats = text_mean(split)
    left = split.known - base
    count = (~np.isnan(left)).sum(1)
    base = np.asarray(base + (np.nansum(left, 1) / (count + BIAS_RIDGE))[:, None])
    return base + _conditioned(split.known - base, _kernel(split), split.settings.text_ridge)


def biases_and_own_texts(split: Split) -> Floats:
    """Joke and user by their ratings, and on top the texts of one's own jokes."""
    base = biases(split)
    return base + _conditioned(split.known - base, _kernel(split), split.settings.text_ridge)


def _kernel(split: Split) -> Floats:
    """Cosine similarities, less their mean: what all jokes share tells nobody's taste."""
    centred = split.vectors - split.vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred @ centred.T * np.nanvar(split.known))


def judged(split: Split) -> Floats:
    """A language model is asked of each joke whether it is funny; its log-odds stand for the joke's mean, on the scale
    of the jokes that were rated."""
    odds = _odds(split.texts, split.settings.model)
    mean, there = _joke_means(split), (~np.isnan(split.known)).any(0)
    slope, start = np.polyfit(odds[there], mean[there], 1)
    return np.tile(start + max(slope, 1e-6) * odds, (len(split.known), 1))


@cache
def _odds(texts: tuple[str, ...], model: str) -> NDArray[np.float64]:
    return np.array(LocalJudge(Backbone.load(model or None)).funny(texts))


def true_mean(split: Split) -> Floats:
    """The oracle: the mean rating of the joke by the very people who are judged. Nobody has it beforehand."""
    rated = np.where(np.isnan(split.held), split.known, split.held)
    return np.tile(np.nanmean(rated, 0), (len(rated), 1))


PREDICTORS: dict[str, Predict] = {
    "random": at_random,
    "one number": one_number,
    "user mean": user_mean,
    "joke mean": joke_mean,
    "biases": biases,
    "item-kNN": item_knn,
    "ALS": als,
    "Gaussian": gaussian,
    "own texts": own_texts,
    "biases and own texts": biases_and_own_texts,
    "text mean": text_mean,
    "text mean and own texts": text_mean_and_own,
    "language model": judged,
    "true mean (oracle)": true_mean,
}
RATED = set(PREDICTORS) - {"text mean", "text mean and own texts", "language model", "true mean (oracle)"}
UNSEEN = {"random", "user mean", "own texts", "text mean", "text mean and own texts", "language model"}
UNSEEN |= {"true mean (oracle)"}
