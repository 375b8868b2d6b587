"""People to train shared weights on, as a reactions file: real ones from Jester, made ones from tables of jokes.

A made person has one to four topics, each around a random joke, likes jokes near them and, every second time,
dislikes some far off. Tastes made this way are cleaner than real ones; what is learned from them has to be tested
on real people. Those that may be tested on are never written: Jester's jokes 81-100, nor anything that says the
same, are in no file of this command, and people and jokes are parted by hash into a train and a held-out side.

python -m engine.pretrained.population --out FILE.jsonl --jester DIR --jokes TABLE ...
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from collectors.item import CollectError, Item, Signal, clean_text, read_reactions, text_id, write_reactions
from engine import encoder, offence

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Person = tuple[str, list[tuple[Item, Signal | None]]]

TEST_JOKES = frozenset(range(81, 101))  # of Jester; the benchmark's, in no training file
TRAIN_PERCENT = 80
MIN_LIKES, MAX_REACTIONS = 5, 40
RATING_LIMIT, NEUTRAL = 10.0, 0.1  # as imported ratings are read: a tenth of the half range is neither like nor dislike

MIN_CHARS, MAX_CHARS = 20, 300
SAME = 0.9  # cosine from which two texts count as one joke
TOPICS = (1, 4)
NEAR = 0.04  # temperature of the draw: a joke 0.1 nearer to the topic is twelve times as likely
MAX_DISLIKES = 8
SHOWN_AT_ONCE = 2_000  # texts encoded, or rows compared, between two looks at the memory


# A sentence vector hardly tells a text's words: of 6,991 jokes that passed the offence filter 263 held one of these.
CRUDE = re.compile(
    r"\b(ass(hole)?s?|bastards?|bitch\w*|blow ?jobs?|boner|boobs?|breasts?|cock\w*|condoms?|cum\w*|cunts?|dick\w*"
    r"|dildos?|erection\w*|fag\w*|fuck\w*|genital\w*|hookers?|horny|incest\w*|masturbat\w*|molest\w*|naked|necro\w*"
    r"|nigg\w*|nipples?|nudes?|orgasm\w*|paedo\w*|pedo\w*|penis\w*|piss\w*|porn\w*|prostitut\w*|puss(y|ies)"
    r"|rap(e|ed|es|ing|ists?)|retard\w*|semen|sex\w*|shit\w*|sluts?|sperm\w*|strippers?|suicid\w*|testicles?|tits?"
    r"|vagina\w*|viagra|virgins?|whores?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, eq=False)
class Pool:
    """Jokes and their sentence vectors (N, 384), aligned."""

    items: tuple[Item, ...]
    vectors: NDArray[np.float32]


def percent(*parts: object) -> int:
    """A place from 0 to 99 that depends on `parts` alone."""
    return int(hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest(), 16) % 100


def held_out(*parts: object) -> bool:
    """Whether this person or text is on the held-out side, whatever the seed."""
    # Salted with our own name: the copy of Jester we have was itself cut from the original by such a hash.
    return percent("palate population", *parts) >= TRAIN_PERCENT


# Jester: real people


def jester_jokes(folder: Path) -> dict[int, Item]:
    """The jokes by number."""
    with _open(folder / "jokes.csv") as file:
        rows = [(int(row["joke_id"]), clean_text(row["text"])) for row in csv.DictReader(file)]
    return {number: Item("jester", str(number), "joke", text) for number, text in rows}


def unfit(jokes: dict[int, Item], encode: Encode) -> dict[int, str]:
    """Which jokes nobody's taste may be trained on, and why."""
    numbers = list(jokes)
    vectors = encode([jokes[n].text for n in numbers])
    test = vectors[[n in TEST_JOKES for n in numbers]]
    same = np.zeros(len(numbers), bool) if not len(test) else (vectors @ test.T).max(1) > SAME
    bad = offence.of_vectors(vectors) >= offence.OFFENSIVE
    why = {n: "offensive" for n, is_bad in zip(numbers, bad, strict=True) if is_bad}
    why |= {n: "crude" for n in numbers if CRUDE.search(jokes[n].text)}
    why |= {n: "says the same as a test joke" for n, is_same in zip(numbers, same, strict=True) if is_same}
    return why | {n: "test joke" for n in numbers if n in TEST_JOKES}


def jester(
    folder: Path, *, held: bool, people: int, seed: int, dropped: Counter[str], encode: Encode
) -> Iterator[Person]:
    """Real people of one side, at most `people` of them, with at most MAX_REACTIONS each."""
    jokes = jester_jokes(folder)
    why = unfit(jokes, encode)
    side: dict[str, list[tuple[int, float]]] = {}
    for user, ratings in groupby(ratings_of(folder), key=lambda row: row[0]):
        if held_out("jester", user) is held:
            side[user] = [(joke, rating) for _, joke, rating in ratings]
    # Which people, where there are more than wanted, is drawn by hash too: it does not depend on their order.
    for user in sorted(side, key=lambda user: text_id(f"{seed}|{user}")):
        if people <= 0:
            dropped["jester person over the limit"] += 1
            continue
        reactions: list[tuple[Item, Signal | None]] = []
        for joke, rating in sorted(side[user], key=lambda row: text_id(f"{seed}|{user}|{row[0]}")):
            offset = round(rating / RATING_LIMIT, 9)
            if joke in why:
                dropped[f"jester rating: {why[joke]}"] += 1
            elif not abs(offset) <= 1:  # other copies write 99 where nothing was rated
                dropped["jester rating: outside the scale"] += 1
            elif abs(offset) <= NEUTRAL:
                dropped["jester rating: neutral"] += 1
            elif len(reactions) == MAX_REACTIONS:
                dropped[f"jester rating: over {MAX_REACTIONS} of one person"] += 1
            else:
                sign = 1 if offset > 0 else -1
                reactions.append((jokes[joke], Signal(jokes[joke].id, sign, abs(offset), origin="jester")))
        if sum(signal is not None and signal.sign > 0 for _, signal in reactions) < MIN_LIKES:
            dropped["jester person with too few likes"] += 1
            continue
        people -= 1
        yield f"jester-{user}", reactions


def ratings_of(folder: Path) -> Iterator[tuple[str, int, float]]:
    with _open(folder / "ratings.csv.gz") as file:
        for row in csv.DictReader(file):
            yield row["user_id"], int(row["joke_id"]), float(row["rating"])


# Tables of jokes: made people


def texts(path: Path) -> Iterator[Item]:
    """The jokes of a CSV with a text column, gzipped or not, or of a reactions file; nobody's reactions are read."""
    if path.suffix == ".jsonl":
        for _, reactions in read_reactions(path):
            yield from (item for item, _ in reactions)
        return
    with _open(path) as file:
        rows = csv.DictReader(file)
        if "text" not in (rows.fieldnames or ()):
            raise CollectError(f"{path} has no column text: make it one with python -m collectors convert.")
        for row in rows:
            text = clean_text(row["text"] or "")
            yield Item("table", text_id(text), "joke", text)


def _open(path: Path) -> TextIO:
    try:
        file = gzip.GzipFile(path) if path.suffix == ".gz" else path.open("rb")
        return io.TextIOWrapper(file, encoding="utf-8", newline="")
    except OSError as error:
        raise CollectError(f"Cannot read {path} ({error.strerror}): check name and permission.") from None


def pool(
    paths: Sequence[Path], kept_out: Sequence[str], *, held: bool, most: int, dropped: Counter[str], encode: Encode
) -> Pool:
    """The jokes of one side: short, inoffensive, no two the same, none the same as one of `kept_out`.

    Which ones are looked at depends on their hash, not on the seed, and both sides look at the same: so what is
    dropped as a repeat of another joke is a repeat on either side, and no pair of seeds mixes the sides.
    """
    tables: list[list[Item]] = []
    seen: set[str] = set()
    for path in paths:
        fit: list[Item] = []
        for item in texts(path):
            key = text_id(item.text.casefold())
            length = len(item.text)
            reason = "too short" if length < MIN_CHARS else "too long" if length > MAX_CHARS else "duplicate"
            if MIN_CHARS <= length <= MAX_CHARS and key not in seen:
                seen.add(key)
                fit.append(item)
            else:
                dropped[f"text: {reason}"] += 1
        tables.append(sorted(fit, key=lambda item: text_id(item.text)))
    # In turn from each table, so that a large one does not drown a small one.
    turns = sorted((rank, t) for t, table in enumerate(tables) for rank in range(len(table)))
    items = [tables[t][rank] for rank, t in turns[:most]]
    dropped["text: over the limit"] += len(turns) - len(items)
    vectors = [encode([item.text for item in part]) for part in _parts(items)]
    return _clean(items, np.concatenate(vectors), encode(list(kept_out)), held=held, dropped=dropped)


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    yield from (items[at : at + SHOWN_AT_ONCE] for at in range(0, max(len(items), 1), SHOWN_AT_ONCE))


def _clean(
    items: list[Item],
    vectors: NDArray[np.float32],
    kept_out: NDArray[np.float32],
    *,
    held: bool,
    dropped: Counter[str],
) -> Pool:
    reasons = {
        "offensive": offence.of_vectors(vectors) >= offence.DOUBTFUL,  # there are more jokes than are looked at
        "crude": np.array([bool(CRUDE.search(item.text)) for item in items], bool),
        "says the same as a test joke": (vectors @ kept_out.T).max(1, initial=-1) > SAME,
    }
    keep = np.ones(len(items), bool)
    for reason, bad in reasons.items():
        dropped[f"text: {reason}"] += int((keep & bad).sum())
        keep &= ~bad
    rows = np.flatnonzero(keep)
    for at in range(0, len(rows), SHOWN_AT_ONCE):  # of two alike the first stays, unless it went itself
        block = rows[at : at + SHOWN_AT_ONCE]
        alike = vectors[block] @ vectors[rows].T > SAME
        for row, likes in zip(block, alike, strict=True):
            if keep[rows[likes]][rows[likes] < row].any():
                keep[row] = False
                dropped["text: says the same as another"] += 1
    mine = np.array([held_out("text", item.text.casefold()) is held for item in items], bool)
    dropped["text: of the other side"] += int((keep & ~mine).sum())
    keep &= mine
    return Pool(tuple(item for item, stays in zip(items, keep, strict=True) if stays), vectors[keep])


def made(pool: Pool, *, held: bool, people: int, seed: int) -> Iterator[Person]:
    """People with a taste, each from a random source of their own: more people leave the first ones as they are."""
    if people > 0 and len(pool.items) < 2 * MIN_LIKES:
        raise CollectError(f"Only {len(pool.items)} jokes are left to make people from: name larger tables.")
    for n in range(people):
        rng = np.random.default_rng([seed, n, held])
        centres = rng.choice(len(pool.items), int(rng.integers(TOPICS[0], TOPICS[1] + 1)), replace=False)
        nearness = pool.vectors[centres] @ pool.vectors.T  # (topics, N)
        share = rng.dirichlet(np.full(len(centres), 2.0))
        most = min(MAX_REACTIONS, len(pool.items) // 2)
        wanted = int(rng.integers(MIN_LIKES, most + 1))
        likes = _draw(nearness, rng.multinomial(wanted, share), rng)
        far = np.flatnonzero(nearness.max(0) < np.median(nearness.max(0)))
        far = far[~np.isin(far, likes)]
        few = int(rng.integers(1, MAX_DISLIKES + 1)) if rng.random() < 0.5 else 0
        dislikes = rng.choice(far, min(few, len(far), wanted), replace=False)
        signed = [(int(i), 1) for i in likes] + [(int(i), -1) for i in dislikes]
        shown = [signed[k] for k in rng.permutation(len(signed))]
        reactions = [(pool.items[i], Signal(pool.items[i].id, sign, origin="made")) for i, sign in shown]
        yield f"made-{'held' if held else 'train'}-{seed}-{n}", list[tuple[Item, Signal | None]](reactions)


def _draw(nearness: NDArray[np.float32], counts: NDArray[np.int64], rng: np.random.Generator) -> list[int]:
    """For each topic so many jokes, no joke twice, near ones likelier: Gumbel top-k, drawing without replacement."""
    drawn: list[int] = []
    for row, count in zip(nearness, counts, strict=True):
        key = row.astype(np.float64) / NEAR + rng.gumbel(size=len(row))
        key[drawn] = -np.inf
        drawn += np.argsort(-key, kind="stable")[:count].tolist()
    return drawn


def main(arguments: Sequence[str] | None = None, encode: Encode = encoder.encode) -> int:
    options = _parser().parse_args(arguments)
    dropped: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    items: set[str] = set()

    def everybody() -> Iterator[Person]:
        kept_out: list[str] = []
        if options.jester:
            jokes = jester_jokes(options.jester)
            kept_out = [jokes[n].text for n in sorted(TEST_JOKES & jokes.keys())]
            yield from jester(
                options.jester,
                held=options.held_out,
                people=options.jester_people,
                seed=options.seed,
                dropped=dropped,
                encode=encode,
            )
        if options.jokes:
            source = pool(
                options.jokes, kept_out, held=options.held_out, most=options.texts, dropped=dropped, encode=encode
            )
            yield from made(source, held=options.held_out, people=options.people, seed=options.seed)

    def checked() -> Iterator[Person]:
        for user, reactions in everybody():
            ids = [item.id for item, _ in reactions]
            if len(set(ids)) != len(ids) or any(f"jester:{n}" in ids for n in TEST_JOKES):
                raise AssertionError(f"{user} holds an item twice or a test joke")  # also under python -O
            items.update(ids)
            counts[user.split("-")[0]] += 1
            counts["likes"] += sum(signal is not None and signal.sign > 0 for _, signal in reactions)
            counts["dislikes"] += sum(signal is not None and signal.sign < 0 for _, signal in reactions)
            yield user, reactions

    try:
        if not (options.jester or options.jokes):
            raise CollectError("There is nobody to write: name --jester DIR, --jokes FILE or both.")
        lines = write_reactions(options.out, checked())
    except CollectError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    made_of = hashlib.sha256(options.out.read_bytes()).hexdigest()
    report = {
        "people": {"jester": counts["jester"], "made": counts["made"]},
        "reactions": lines,
        "likes": counts["likes"],
        "dislikes": counts["dislikes"],
        "items": len(items),
        "dropped": {reason: n for reason, n in sorted(dropped.items()) if n},
        "sha256": made_of,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine.pretrained.population",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="reactions, one a line")
    parser.add_argument("--jester", type=Path, metavar="DIR", help="folder with jokes.csv and ratings.csv.gz")
    parser.add_argument("--jokes", type=Path, nargs="+", default=[], metavar="FILE", help="CSV, .csv.gz or reactions")
    parser.add_argument("--people", type=int, default=3000, help="made people (default: %(default)s)")
    parser.add_argument("--jester-people", type=int, default=1500, help="at most so many (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=16_000, help="jokes looked at (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of who is made, and of what they like")
    parser.add_argument("--held-out", action="store_true", help="the other side: people and jokes for testing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
