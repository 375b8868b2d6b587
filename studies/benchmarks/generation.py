"""Generation: does a method make the model one of this person's? On Jester raters whom no population holds.

A person's profile holds their 24 strongest likes and all dislikes among jokes 1 to 80; jokes 81 to 100 judge, which
nothing was ever taught. Two questions. Of a joke this person liked and one they disliked, is the liked one likelier, a
token (`pair_accuracy`; `gain_accuracy` of what the method adds to its model, so that jokes which are likelier for
everybody help nobody)? A contrast orders by log p of its expert less lambda times log p of its amateur; its gain and
its `likelihood` are the expert's. And are the texts that it writes various, no copies of a joke at hand (Jester's, and
what `populations` hold), and nearer to what the person liked (`closeness`)? Every personal row has a control with
somebody else's profile and state.

Left out are all people of the side that populations are learned from, the held-out ones by whom the shipped states were
stopped and judged (`make pretrain`, made anew here), and whoever a file of `populations` holds.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from collectors.item import CollectError, read_reactions
from engine.encoder import encode
from engine.learning import PRETRAINED
from engine.methods import ARMS, BASES
from engine.pretrained.memorised import Taught
from engine.pretrained.population import TEST_JOKES, jester, jester_jokes
from studies.benchmarks.adapters import Rater, Scores, raters
from studies.benchmarks.generation_rows import (
    FLOOR,
    ROWS,
    able,
    base_of,
    contrasted,
    cost,
    likelihoods,
    models,
    write,
)
from studies.benchmarks.generation_texts import closeness, varied, written_figures
from studies.benchmarks.jester_intervals import half_over_both
from studies.benchmarks.rows import ALL, circle, of_methods
from studies.benchmarks.runs import CannotRun, Cell, Done, Row
from studies.benchmarks.scores import WRONG, ratio, within_users

OWN = "people's own"
STOPPING = 300  # held-out people of `make pretrain`, drawn by seed 0


@dataclass(frozen=True, slots=True)
class Settings:
    """`states` is a data folder with what was learned ("": the states that came with Palate), `populations` are files
    of the people from whom that was, `written` the texts for each of `limit` people."""

    data: Path
    states: str = ""
    populations: tuple[str, ...] = ()
    limit: int = 20
    seeds: int = 3
    model: str = ""
    methods: tuple[str, ...] = ALL
    written: int = 4


@dataclass(frozen=True, eq=False)
class Crowd:
    """Who is judged, how well everybody else liked each joke that judges, and all jokes by number."""

    raters: tuple[Rater, ...]
    popularity: Scores
    jokes: Mapping[int, str]

    @property
    def judging(self) -> tuple[str, ...]:
        return tuple(self.jokes[n] for n in sorted(TEST_JOKES & self.jokes.keys()))


def files(settings: Settings) -> list[Path]:
    """Ratings, jokes, populations, and the states that may be used. Raises CannotRun."""
    found = [settings.data / name for name in ("jokes.csv", "ratings.csv.gz")]
    found += [Path(name) for name in settings.populations]
    for path in found:
        if not path.is_file():
            raise CannotRun(f"{path} is not there: --data is the folder with jokes.csv and ratings.csv.gz")
    if settings.states and not (Path(settings.states) / "states").is_dir():
        raise CannotRun(f"{settings.states} holds no states: --states is the --out of python -m engine learn")
    came = [PRETRAINED / f"{arm}.safetensors" for arm in (ARMS | BASES)]
    own = sorted(Path(settings.states, "states", "shared").rglob("*.safetensors")) if settings.states else []
    return [*found, *(path for path in came if path.is_file()), *own]


def cells(settings: Settings) -> Iterator[Cell]:
    for name in ("limit", "written"):
        if getattr(settings, name) < 1:
            raise CannotRun(f"{name} is {getattr(settings, name)}: take 1 at least")
    yield from of_methods(_all_cells(settings), settings.methods)


def _all_cells(settings: Settings) -> Iterator[Cell]:
    """Seed by seed: adapters that were fitted serve all rows of their seed while the process lives."""
    rows = [name for name in ROWS if settings.methods != ALL or known(settings, name)]
    for seed in range(settings.seeds):
        for name in (*FLOORS, *REFERENCES, *rows):
            yield Cell({"method": name, "seed": seed}, _cell(settings, name, seed, wrong=False))
            if name == "own texts" or ROWS.get(name, FLOOR) != FLOOR:
                yield Cell({"method": f"{name}{WRONG}", "seed": seed}, _cell(settings, name, seed, wrong=True))


def known(settings: Settings, name: str) -> bool:
    """Whether the model has learned what the row needs: unless it is named, a row without a state is no row."""
    return able(models(settings.model, Path(settings.states or PRETRAINED)), name)


def _cell(settings: Settings, name: str, seed: int, *, wrong: bool) -> Callable[[], Done]:
    def computed() -> Done:
        people = crowd(settings.data, settings.populations, settings.limit)
        given = strangers(people.raters, seed) if wrong else people.raters
        if name in FLOORS:
            return _told(people, FLOORS[name](people, given, seed))
        if name in REFERENCES:
            return _reference(people, name, REFERENCES[name](people, seed, settings.written))
        return _modelled(settings, people, name, given, seed)

    return computed


# ---- people


@cache
def crowd(data: Path, populations: tuple[str, ...], limit: int) -> Crowd:
    """The first `limit` people by a hash of their id. Raises CannotRun."""
    try:
        left_out = {user for path in populations for user, _ in read_reactions(Path(path))}
        left_out |= {
            user for user, _ in jester(data, held=True, people=STOPPING, seed=0, dropped=Counter(), encode=encode)
        }
        found, popularity = raters(data, left_out, limit)
        jokes = {number: item.text for number, item in jester_jokes(data).items()}
    except (CollectError, EOFError, KeyError, ValueError) as error:
        raise CannotRun(f"the files in {data} are not Jester's ratings and jokes: {error}") from error
    if len(found) < 2:
        raise CannotRun(f"{len(found)} people can be judged, a control needs two: raise --limit, or take more ratings")
    return Crowd(tuple(found), popularity, jokes)


def strangers(people: Sequence[Rater], seed: int) -> tuple[Rater, ...]:
    """Somebody else for each: everyone stands in once, for the next of a circle drawn by the seed."""
    return tuple(people[n] for n in circle(len(people), [seed, 1]))


@cache
def taught(data: Path, populations: tuple[str, ...]) -> Taught:
    """What a text may be a copy of: Jester's jokes, all profiles' among them, and what the populations hold."""
    texts = {item.text for item in jester_jokes(data).values()}
    texts |= {item.text for path in populations for _, reactions in read_reactions(Path(path)) for item, _ in reactions}
    return Taught(sorted(texts))


# ---- rows


def _modelled(settings: Settings, people: Crowd, name: str, given: Sequence[Rater], seed: int) -> Done:
    using = models(settings.model, Path(settings.states or PRETRAINED))
    over, base = base_of(using, name, people.judging)
    found = likelihoods(using, name, given, people.raters, seed, people.judging)
    ordering = [contrasted(name, some, base) for some in found]
    done = _told(people, ordering)
    likes = [np.mean([some[text] for text, liked in rater.judged if liked])
             for some, rater in zip(found, people.raters, strict=True)]  # fmt: skip
    gain = [{text: score - base[text] for text, score in some.items()} for some in found]
    added = {} if name == "none" else accuracy(people, gain, "gain_accuracy")
    texts, cost_of_writing = write(using, name, given, people.raters, seed, settings.written)
    figures = {"over": over, "likelihood": float(np.mean(likes)), **done.figures, **added}
    figures |= written_figures(texts, people.raters, taught(settings.data, settings.populations))
    return Done(figures | cost(using, name, given, seed) | cost_of_writing, [*done.predictions, *_lines(people, texts)])


def _told(people: Crowd, found: Sequence[Scores]) -> Done:
    """Lines are person, joke, score, liked."""
    numbers = {text: number for number, text in people.jokes.items()}
    lines = [
        [rater.profile.user, numbers[text], round(scores[text], 5), liked]
        for rater, scores in zip(people.raters, found, strict=True)
        for text, liked in rater.judged
    ]
    return Done({"people": len(people.raters), **accuracy(people, found, "pair_accuracy")}, lines)


def accuracy(people: Crowd, found: Sequence[Scores], name: str) -> Row:
    """How often the liked one of two jokes has the higher score, ties half, and half of the intervals over people and
    over people and jokes: everybody is judged by the same twenty."""
    raters = people.raters
    places = {text: n for n, text in enumerate(people.judging)}
    liked = np.array([liked for rater in raters for _, liked in rater.judged], float)
    said = np.array([some[text] for rater, some in zip(raters, found, strict=True) for text, _ in rater.judged])
    joke = np.array([places[text] for rater in raters for text, _ in rater.judged])
    user = np.repeat(np.arange(len(raters)), [len(rater.judged) for rater in raters])
    share, half = ratio(*within_users(liked, said, user))
    both = half_over_both(liked, said, user, joke, len(raters))
    return {name: share, f"{name}_half": half, f"{name}_half_jokes": both}


def _lines(people: Crowd, texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Person and text."""
    return [[rater.profile.user, text] for rater, some in zip(people.raters, texts, strict=True) for text in some]


def _reference(people: Crowd, name: str, texts: Sequence[Sequence[str]]) -> Done:
    """Texts that nobody wrote for the purpose. Those that people like themselves are the same few for all: how various
    they are says nothing beside as many texts as a model writes."""
    once = list(dict.fromkeys(text for some in texts for text in some))
    figures = {"people": len(people.raters), "texts": len(once)} | ({} if name == OWN else varied(once))
    return Done(figures | closeness(texts, people.raters), _lines(people, texts))


# ---- without a model


def at_random(people: Crowd, given: Sequence[Rater], seed: int) -> list[Scores]:
    rng = np.random.default_rng([seed, 2])
    return [{text: float(rng.random()) for text, _ in rater.judged} for rater in people.raters]


def popularity(people: Crowd, given: Sequence[Rater], seed: int) -> list[Scores]:
    """The mean rating of the joke by all who are not candidates to be judged."""
    return [people.popularity] * len(people.raters)


def own_texts(people: Crowd, given: Sequence[Rater], seed: int) -> list[Scores]:
    """Cosine of the joke to the mean of one's likes, less that to the mean of one's dislikes."""
    texts = people.judging
    vectors = encode(texts)
    found = []
    for rater in given:
        signs = np.array([signal.sign for signal in rater.profile.signals])
        means = [rater.profile.vectors[signs == sign].sum(0) for sign in (1, -1) if (signs == sign).any()]
        towards, *away = (mean / np.linalg.norm(mean) for mean in means)
        found.append(dict(zip(texts, (vectors @ (towards - sum(away))).astype(float).tolist(), strict=True)))
    return found


def peoples_own(people: Crowd, seed: int, each: int) -> list[list[str]]:
    """Some of what each person liked among the jokes that judge: what closeness could be."""
    rng = np.random.default_rng([seed, 3])
    likes = [[text for text, liked in rater.judged if liked] for rater in people.raters]
    return [[some[n] for n in rng.permutation(len(some))[:each]] for some in likes]


def random_jokes(people: Crowd, seed: int, each: int) -> list[list[str]]:
    """Jokes that do not judge, each once before one comes again."""
    pool = [text for number, text in people.jokes.items() if number not in TEST_JOKES]
    rng, drawn = np.random.default_rng([seed, 4]), list[str]()
    while len(drawn) < each * len(people.raters):
        drawn += [pool[n] for n in rng.permutation(len(pool))]
    return [drawn[n * each : (n + 1) * each] for n in range(len(people.raters))]


FLOORS: dict[str, Callable[[Crowd, Sequence[Rater], int], list[Scores]]] = {
    "random": at_random,
    "popularity": popularity,
    "own texts": own_texts,
}
REFERENCES: dict[str, Callable[[Crowd, int, int], list[list[str]]]] = {
    OWN: peoples_own,
    "random jokes": random_jokes,
}
