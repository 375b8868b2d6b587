"""What the feed costs, and whether the best of several tries is nearer to a person's taste than the first.

`run`: a ranking of 10,000 texts for one person, and the 100 nearest of a million by an index. There are no million
jokes at hand: text n is text n of 20,000 (half short_jokes, half r/Jokes), and from 20,000 on one of these, moved in a
random direction until its cosine to what it was is the one that a text has to its nearest neighbour, in the median. So
a copy is to its original what a neighbour is; but neighbours lie in a few directions, and noise in all. A person is the
mean of 20 texts near one another, which is none of the set.

`tries`: a made-up person likes one community of the sample feed and has half of it in the profile. The embedded model
writes, and the first text stands beside that of eight which the profile puts highest. A scorer cannot judge itself, so
the other half judges: how near the texts are to what this person likes, and to what another one does.
"""

import argparse
import csv
import gzip
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
from numpy.typing import NDArray

from collectors.item import Item, Signal, text_id
from collectors.sample import Sample
from engine import encoder
from engine.backbone import Backbone
from engine.decode import Generation, decode
from engine.methods.base import Ask
from engine.methods.reranked import Reranked
from engine.profile import Profile, build
from engine.recommend.index import EXACT, Index, index, load, looking_at
from engine.recommend.taste import by_topic, cosine, nearness, spread
from engine.state import key
from engine.weights import sha256
from studies.benchmarks.generation_texts import self_bleu
from studies.benchmarks.runs import CannotRun, alone, peak_mb, tell
from studies.benchmarks.scores import ratio
from studies.session import TASTE

FILES = ("short_jokes/jokes.csv.gz", "rjokes/dev.csv.gz")
EACH = 10_000  # texts of each
CANDIDATES, CARDS = 10_000, 50  # that are ranked, and shown
SIZE, K, QUERIES, NEAR = 1_000_000, 100, 100, 20
LOOKED_AT = (64, 128, 256, 512)  # lists
COMPARED = 200_000  # vectors on which lists stand beside a graph (HNSW, arXiv 1603.09320) of
LINKS, BUILDING, SOUGHT = 32, 40, (100, 200, 400)  # links a vector; candidates as it is made, and as it is searched
TIMES = 20
PEOPLE, TEXTS, SAMPLES = 8, 4, 8
Floats = NDArray[np.float32]
Places = NDArray[np.int64]
Figures = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Print a row for each part; returns the exit code: 2 where the texts are not there."""
    options = _parser().parse_args(arguments)
    try:
        for row in _whole(options.data, options.work, options.vectors, options.model):
            tell(row, options.json)
    except CannotRun as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks feed", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"where {' and '.join(FILES)} are")
    parser.add_argument("--work", type=Path, default=Path("palate-runs"), help="the texts' vectors, once encoded")
    parser.add_argument("--vectors", type=int, default=SIZE, help="how many are searched")
    parser.add_argument("--model", help="as in app.py, of the best of several tries")
    parser.add_argument("--json", action="store_true", help="each row as one JSON line")
    return parser


def _whole(data: Path, work: Path, size: int, model: str | None) -> Iterator[Figures]:
    yield from run(data, work, size)
    yield from tries(Backbone.load(model))  # loaded when the millions are gone


def run(data: Path, work: Path, size: int = SIZE, each: int = EACH) -> Iterator[Figures]:
    """A row of the ranking, of lists beside a graph, of the index in use, and of what opens its file, each of the last
    three in a process of its own. The folder `work` keeps the texts' vectors. Raises CannotRun."""
    texts, file = encoded(data, work, each), work / "feed.index"
    yield {"part": "ranking", **ranking(texts)}
    for name, part in (("lists and a graph", _compared), ("index", _built), ("from its file", _opened)):
        yield {"part": name, **alone(part, texts, size, file)}
    file.unlink()


def encoded(data: Path, work: Path, each: int) -> Floats:
    """The vectors of the first `each` texts of both files, no text twice. Raises CannotRun."""
    for name in FILES:
        if not (data / name).is_file():
            raise CannotRun(f"{data / name} is not there: --data is the folder with {' and '.join(FILES)}")
    of = key({name: sha256(data / name) for name in FILES})
    kept = work / f"texts-{encoder.NAME}-{each}-{of}.npy"
    if not kept.is_file():
        texts: list[str] = []
        for name in FILES:
            with gzip.open(data / name, "rt", encoding="utf-8", newline="") as rows:
                texts += [row["text"] for _, row in zip(range(each), csv.DictReader(rows), strict=False)]
        work.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished.npy")
        np.save(unfinished, encoder.encode(list(dict.fromkeys(texts))))
        unfinished.replace(kept)
    return np.asarray(np.load(kept), np.float32)


def ranking(texts: Floats) -> Figures:
    """Milliseconds for CARDS of CANDIDATES by each scorer, and how alike the cards are, spread and plainly the best."""
    candidates, person = texts[np.random.default_rng(0).permutation(len(texts))[:CANDIDATES]], somebody(texts)
    found: Figures = {"candidates": len(candidates), "cards": CARDS, "likes": len(person.liked)}
    scorers = {"nearness": cosine, "by_topic": by_topic}
    for name, scorer in scorers.items():

        def cards(_: int, scorer: Callable[[Profile, Floats], Floats] = scorer) -> list[int]:
            return spread(scorer(person, candidates), candidates, CARDS, TASTE)

        best = np.argsort(-scorer(person, candidates), kind="stable")[:CARDS]
        for how, rows in (("spread", cards(0)), ("best", best)):
            alike = candidates[rows] @ candidates[rows].T
            found[f"{name}_{how}_alike"] = round(float(alike[np.triu_indices(len(alike), 1)].mean()), 3)
        found |= _took(name, cards, range(TIMES))
    return found


def somebody(texts: Floats) -> Profile:
    """Who likes the NEAR texts nearest to each of three, and dislikes those nearest to a fourth."""
    rows = neighbours(texts, 4, seed=2)
    items = tuple(Item("made", str(n), "joke", "") for n in range(rows.size))
    signals = tuple(Signal(item.id, 1 if n < 3 * NEAR else -1) for n, item in enumerate(items))
    return Profile("somebody", items, signals, vectors=texts[rows.ravel()], vector=texts[rows[:3].ravel()].mean(0))


# ---- many vectors


def neighbours(texts: Floats, people: int, seed: int) -> Places:
    """The rows of the NEAR texts nearest to each of some (people, NEAR), themselves among them."""
    some = texts[np.random.default_rng(seed).choice(len(texts), people, replace=False)]
    return np.asarray(faiss.knn(some, texts, NEAR, metric=faiss.METRIC_INNER_PRODUCT)[1], np.int64)


def nearest_cosine(texts: Floats) -> float:
    """The median over some texts of the cosine to their nearest neighbour."""
    some = texts[np.random.default_rng(0).permutation(len(texts))[:2_000]]
    return float(np.median(faiss.knn(some, texts, 2, metric=faiss.METRIC_INNER_PRODUCT)[0][:, 1]))


def many(texts: Floats, size: int, cosine: float) -> Floats:
    """`size` unit vectors (N, E): the texts, then copies of them at this cosine to their originals."""
    found, dice = np.empty((size, texts.shape[1]), np.float32), np.random.default_rng(0)
    found[: len(texts)] = texts[:size]
    for start in range(len(texts), size, 20_000):  # piece by piece: noise is made in float64
        rows = np.arange(start, min(start + 20_000, size))
        of = texts[rows % len(texts)]
        noise = dice.normal(size=of.shape).astype(np.float32)
        noise -= (noise * of).sum(1, keepdims=True) * of  # at a right angle
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        found[rows] = cosine * of + (1 - cosine**2) ** 0.5 * noise
    return found


def queries(texts: Floats) -> Floats:
    return np.asarray(texts[neighbours(texts, QUERIES, seed=1)].mean(1), np.float32)


def exact(asked: Floats, vectors: Floats) -> Places:
    """The K nearest of each query (Q, K), all looked at."""
    return np.asarray(faiss.knn(asked, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)[1], np.int64)


def recall(found: Sequence[Places], truth: Places) -> float:
    """The share of the K nearest that were found."""
    return round(float(np.mean([np.isin(wanted, some).mean() for some, wanted in zip(found, truth, strict=True)])), 4)


def _built(texts: Floats, size: int, file: Path) -> Figures:
    """Build the index of `size` vectors, search it with more and more lists, and save it."""
    cosine, asked = nearest_cosine(texts), queries(texts)
    vectors = many(texts, size, cosine)
    truth, before = exact(asked, vectors), time.perf_counter()
    made = index(vectors)
    found: Figures = {"vectors": size, "build_seconds": round(time.perf_counter() - before, 1)}
    found |= {"texts": len(texts), "nearest_cosine": round(cosine, 3)}
    found |= _took("exact", lambda query: exact(query[None], vectors), asked[:TIMES])
    found |= _searched("index", lambda query: made.search(query, K)[0], asked, truth)
    found |= _in_lists(made, asked, truth)
    made.save(file)
    return found | {"file_mb": file.stat().st_size // 2**20, "peak_mb": peak_mb()}


def _opened(texts: Floats, size: int, file: Path) -> Figures:
    """What a process holds that opens the file, and once it has searched."""
    asked = queries(texts)
    held, before = psutil.Process().memory_info().rss, time.perf_counter()
    opened = load(file, size)
    found: Figures = {"open_ms": round(1e3 * (time.perf_counter() - before), 1)}
    found["more_mb"] = (psutil.Process().memory_info().rss - held) // 2**20
    found |= _took("first_search", lambda query: opened.search(query, K), asked)
    found |= {"more_mb_searched": (psutil.Process().memory_info().rss - held) // 2**20}
    return found | _took("search", lambda query: opened.search(query, K), asked)


def _compared(texts: Floats, size: int, file: Path) -> Figures:
    """Lists and a graph (HNSW) of the same vectors: what both cost to build, and how much they find in what time."""
    asked, vectors = queries(texts), many(texts, min(size, COMPARED), nearest_cosine(texts))
    truth, before = exact(asked, vectors), time.perf_counter()
    made = index(vectors)
    found: Figures = {"vectors": len(vectors), "lists_build_seconds": round(time.perf_counter() - before, 1)}
    found |= _in_lists(made, asked, truth)
    told: Any = faiss
    graph, before = told.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT), time.perf_counter()
    graph.hnsw.efConstruction = BUILDING
    graph.add(vectors)
    found["graph_build_seconds"] = round(time.perf_counter() - before, 1)
    for among in SOUGHT:
        how = told.SearchParametersHNSW(efSearch=among)
        found |= _searched(f"graph_{among}", partial(_among, graph, how), asked, truth)
    return found


def _in_lists(made: Index, asked: Floats, truth: Places) -> Figures:
    """With more and more lists, where there are any."""
    if len(made) <= EXACT:
        return {}
    found: Figures = {"lists": made.held.nlist, "looked_at": made.held.nprobe}
    for lists in LOOKED_AT:
        found |= _searched(f"lists_{lists}", partial(_among, made.held, looking_at(lists)), asked, truth)
    return found


def _among(held: Any, how: Any, query: Floats) -> Places:
    return np.asarray(held.search(query[None], K, params=how)[1][0], np.int64)


def _searched(name: str, search: Callable[[Floats], Places], asked: Floats, truth: Places) -> Figures:
    found = [search(query) for query in asked]
    return {f"{name}_recall": recall(found, truth)} | _took(name, search, asked)


def _took(name: str, work: Callable[[Any], object], over: Iterable[Any]) -> Figures:
    """Milliseconds of each, the median and the 95th percentile."""
    took = []
    for each in over:
        before = time.perf_counter()
        work(each)
        took.append(1e3 * (time.perf_counter() - before))
    return {f"{name}_ms": round(float(np.median(took)), 2), f"{name}_p95_ms": round(float(np.quantile(took, 0.95)), 2)}


# ---- the best of several tries


@dataclass(frozen=True, eq=False)
class Fan:
    """Who likes one community: half of it stands in the profile, the other half is held out."""

    profile: Profile
    held_out: tuple[str, ...]


def tries(lm: Backbone, people: int = PEOPLE, each: int = TEXTS, samples: int = SAMPLES) -> Iterator[Figures]:
    """A row of the first text of each draw, of the one of `samples` that is kept, and of the likes in the profile for
    comparison; then what is gained from the first row to the second. `predicted` is said by the scorer that chose,
    `near` by the likes that were held out, `near_wrong` by those of the next person; intervals are over people."""
    fans = [fan(community) for community in sorted({item.community for item, _ in Sample()})[:people]]
    first, best, cost = list[list[str]](), list[list[str]](), Counter[str]()
    for who in fans:
        drawn = [draws(lm, who.profile, n, samples) for n in range(each)]
        first.append([texts[0].text for texts, _ in drawn])
        best.append([texts[int(scores.argmax())].text for texts, scores in drawn])
        cost["first"] += sum(len(texts[0].token_ids) for texts, _ in drawn)
        cost["best"] += sum(len(text.token_ids) for texts, _ in drawn for text in texts)
    own = [[item.text for item in who.profile.liked] for who in fans]
    rows = {"first": first, "best": best, "likes": own}
    near = {name: nears(fans, texts) for name, texts in rows.items()}
    for name, texts in rows.items():
        found: Figures = {"texts": name, "samples": samples if name == "best" else 1, **_means(near[name])}
        if name != "likes":
            found |= {"self_bleu": round(self_bleu([text for some in texts for text in some if text]), 3)}
            found |= {"tokens": round(cost[name] / (each * len(fans)), 1)}
        yield found
    yield {"texts": "gain", **_means({name: near["best"][name] - near["first"][name] for name in near["best"]})}


def fan(community: str) -> Fan:
    items = [item for item, _ in Sample() if item.community == community]
    order = np.random.default_rng(int(text_id(community)[:8], 16)).permutation(len(items))
    known, others = ([items[n] for n in half] for half in np.array_split(order, 2))
    return Fan(build(community, [(item, Signal(item.id, 1)) for item in known]), tuple(item.text for item in others))


def draws(lm: Backbone, profile: Profile, n: int, samples: int) -> tuple[list[Generation], Floats]:
    """What is drawn for the person's n-th request, and what the scorer says of each; the first is what is written where
    none is chosen, for the random source of a text is its place."""
    ask = Ask(seed=int(text_id(f"{profile.user}|{n}")[:8], 16))
    told = Reranked(samples=samples).condition(lm, profile, {}, ask)
    assert told.score is not None
    [texts] = decode(lm, [(replace(told, score=None), replace(ask, n=samples))])
    return texts, np.asarray(told.score.of([text.text for text in texts]), np.float32)


def nears(fans: Sequence[Fan], texts: Sequence[Sequence[str]]) -> dict[str, Floats]:
    """By what is judged, the mean over each person's texts (U,)."""
    middles = [encoder.encode(who.held_out).mean(0) for who in fans]
    vectors = [encoder.encode(some) for some in texts]
    near, wrong = (
        np.array([(some @ middle).mean() for some, middle in zip(vectors, judging, strict=True)], np.float32)
        for judging in (middles, [*middles[1:], middles[0]])
    )
    predicted = [nearness(who.profile, some).mean() for who, some in zip(fans, vectors, strict=True)]
    return {
        "predicted": np.array(predicted, np.float32),
        "near": near,
        "near_wrong": wrong,
        "near_less_wrong": near - wrong,
    }


def _means(by: dict[str, Floats]) -> Figures:
    """The mean over people and half of its 95 % interval."""
    found: Figures = {}
    for name, values in by.items():
        mean, half = ratio(values.astype(float), np.ones(len(values)))
        found |= {name: round(mean, 4), f"{name}_half": round(half, 4)}
    return found
