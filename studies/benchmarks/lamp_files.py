"""The files of LaMP (arXiv 2304.11406) and of what is laid out as they are: read, checked, and fetched.

A folder holds `questions.json` and `outputs.json`, with a split before their names (`dev_questions.json`) or `.gz`
after them. Questions are `[{"id", "input", "profile": [...]}]`, in splits by time with a `user_id`; outputs are
`{"task", "golds": [{"id", "output"}]}`. Reviews and abstracts come in files of 400 MB, which are streamed.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, cast

import httpx
import ijson

from studies.benchmarks.runs import CannotRun

OFFICIAL = "https://ciir.cs.umass.edu/downloads/LaMP"
STEP = 4_000_000  # bytes of a download between two lines of progress
TASK = re.compile(r"(?P<time>time/)?LaMP_(?P<number>[1-57])(?P<new>_new)?")
CANDIDATES = re.compile(r'\[1\]: "(?P<one>.*)"\s+\[2\]: "(?P<two>.*)"', re.DOTALL)
LISTED = re.compile(r"(?:tags|categories): \[(?P<labels>[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of question: which keys of a profile's item hold its text and what was answered to it, which words stand
    before a question's payload, the first that is found (none: all of it is payload), and which answers there are
    (none: the question lists them, or any text is one)."""

    name: str
    kind: Literal["label", "rating", "text"]
    text: str
    answer: str
    before: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


TASKS = {
    task.name: task
    for task in (
        Task("LaMP_1", "label", "abstract", "title", labels=("[1]", "[2]")),
        Task("LaMP_2", "label", "description", "tag", ("description:",)),
        Task("LaMP_2N", "label", "text", "category", ("article:",)),  # the first edition's LaMP-2: news
        Task("LaMP_3", "rating", "text", "score", ("review:",), ("1", "2", "3", "4", "5")),
        Task("LaMP_4", "text", "text", "title", ("article:",)),
        Task("LaMP_5", "text", "abstract", "title", ("paper:", "abstract:")),
        Task("LaMP_7", "text", "text", "", (":",)),
        Task("LongLaMP_abstract", "text", "abstract", "title"),
        Task("LongLaMP_review", "text", "reviewText", "summary"),
        Task("LongLaMP_topic", "text", "content", "summary"),
        Task("writers", "text", "text", "title", ("this writer gives to:",)),  # lamp_writers lays it out
    )
}


@dataclass(frozen=True, slots=True)
class Past:
    """An item of a profile: a text, and what this person answered to it or called it."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """`payload` is the input without its instruction; `profile` is oldest first where it has dates, else as it stands.
    `user` is "" where the file names none; `labels` is () where any text is an answer."""

    id: str
    user: str
    input: str
    payload: str
    profile: tuple[Past, ...]
    gold: str
    labels: tuple[str, ...]

    @property
    def person(self) -> str:
        """Whom the question is of; without a name each question is of somebody else."""
        return self.user or f"question {self.id}"

    @property
    def head(self) -> str:
        """The words of the task before the payload; all of the input where the payload is not its end."""
        return self.input.rstrip().removesuffix(self.payload)

    @property
    def past(self) -> tuple[Past, ...]:
        """The profile without the very thing that is asked about."""
        return self.without(self.asks)

    @property
    def asks(self) -> frozenset[str]:
        """The texts that would tell the answer: what is asked about, and an answer that is a text."""
        return frozenset({plain(self.payload)} | (set() if self.labels else {plain(self.gold)}))

    def without(self, asked: Collection[str]) -> tuple[Past, ...]:
        """The profile without these texts."""
        return tuple(
            item
            for item in self.profile
            if plain(item.text) not in asked and (self.labels or plain(item.answer) not in asked)
        )


def unasked(questions: Iterable[Question]) -> dict[str, Question]:
    """Of each person the first question, with nothing in its profile that any of theirs asks: what one adapter, which
    answers them all, may learn from."""
    asked: dict[str, frozenset[str]] = {}
    first: dict[str, Question] = {}
    for question in questions:
        asked[question.person] = asked.get(question.person, frozenset()) | question.asks
        first.setdefault(question.person, question)
    return {person: replace(one, profile=one.without(asked[person])) for person, one in first.items()}


def plain(text: str) -> str:
    """A text whatever its case and its spaces."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True, eq=False, slots=True)
class Lamp:
    """A folder's questions. `skipped` counts items of profiles that lacked a key (one is known, in LaMP-2's dev)."""

    task: Task
    questions: tuple[Question, ...]
    skipped: int


# ---- reading


def found(folder: Path) -> tuple[Path, Path]:
    """The questions and the outputs of a folder. Raises CannotRun."""
    questions = sorted(path for end in ("", ".gz") for path in folder.glob(f"*questions.json{end}"))
    if not questions:
        raise CannotRun(f"{folder} has no questions.json: give the folder of the official files, or --fetch them there")
    if len(questions) > 1:
        raise CannotRun(f"{folder} has {questions[0].name} and {questions[1].name}: put each in a folder of its own")
    name = questions[0].name.removesuffix(".gz").replace("questions.json", "outputs.json")
    for end in ("", ".gz"):
        if (outputs := folder / f"{name}{end}").is_file():
            return questions[0], outputs
    raise CannotRun(
        f"{folder / name} is not there beside {questions[0].name}: it has the answers (those of the test split are not "
        "published, take dev)"
    )


def read(folder: Path, name: str = "") -> Lamp:
    """The questions of a folder, each with its answer. `name` is the task, where the outputs do not tell it right.
    Raises CannotRun."""
    asked, told = found(folder)
    named, golds = _golds(told)
    task = TASKS.get(name or named)
    if task is None:
        raise CannotRun(f"{told} is of the task {name or named!r}: give one after --task ({', '.join(TASKS)})")
    questions: dict[str, Question] = {}
    malformed: Counter[tuple[str, ...]] = Counter()
    items = 0
    for entry in _entries(asked):
        question = _question(entry, task, golds, asked, malformed)
        if question.id in questions:
            raise CannotRun(f"{asked} has the question {question.id} twice: fetch it again")
        questions[question.id] = question
        items += len(question.profile)
    if not questions:
        raise CannotRun(f"{asked} holds no list of questions: fetch it again")
    if malformed and not items:
        keys = ", ".join(malformed.most_common(1)[0][0])
        raise CannotRun(f"{asked} is not of {task.name}: its items have {keys}, and not {task.text} and {task.answer}")
    return Lamp(task, tuple(questions.values()), malformed.total())


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked. Raises CannotRun for a web page."""
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if path.suffix == ".gz":
            file = cast(IO[bytes], stack.enter_context(gzip.open(file)))
        try:
            head = file.read(512).lstrip()
            file.seek(0)
        except (OSError, EOFError) as error:
            raise CannotRun(f"{path} cannot be unpacked ({error}): fetch it again") from error
        if head.startswith(b"<"):
            raise CannotRun(f"{path} is a web page and not JSON, an answer to a wrong address: delete it, fetch again")
        yield file


def _entries(path: Path) -> Iterator[Any]:
    with _opened(path) as file:
        try:
            yield from ijson.items(file, "item", use_float=True)
        except (ijson.JSONError, OSError, EOFError) as error:
            raise CannotRun(f"{path} ends or breaks before its end ({error}): fetch it again") from error


def _golds(path: Path) -> tuple[str, dict[str, str]]:
    with _opened(path) as file:
        try:
            told = json.load(file)
            golds = {str(entry["id"]): str(entry["output"]) for entry in told["golds"]}
            return str(told["task"]).replace("-", "_"), golds
        except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
            why = f"{type(error).__name__}: {error}"
            raise CannotRun(f"{path} is not {{task, golds: [{{id, output}}]}} ({why}): fetch it again") from error


def _question(
    entry: Any, task: Task, golds: Mapping[str, str], path: Path, malformed: Counter[tuple[str, ...]]
) -> Question:
    try:
        name, told, profile = str(entry["id"]), str(entry["input"]), list(entry["profile"])
    except (KeyError, TypeError) as error:
        raise CannotRun(f"{path} has a question without id, input or profile ({error}): fetch it again") from error
    if (gold := golds.get(name)) is None:
        raise CannotRun(f"the question {name} of {path} has no answer in the outputs: fetch both files again")
    if task.name == "LaMP_2" and any(isinstance(item, dict) and "category" in item for item in profile):
        raise CannotRun(
            f"{path} is the news LaMP-2, whose items have a category; the one meant here tags movies: fetch "
            "LaMP_2_new, or say --task LaMP_2N if it is the news that you mean"
        )
    labels = task.labels or _listed(told, task, path, name)
    if labels and gold.strip() not in labels:
        raise CannotRun(f"the answer {gold!r} to question {name} of {path} is none of {', '.join(labels)}")
    payload = _payload(told, task, path, name)
    items = []
    for item in sorted(profile, key=_date) if all(map(_date, profile)) else profile:
        keys = tuple(item) if isinstance(item, dict) else ()
        past = Past(str(item.get("id", "")), _text(item, task.text), _text(item, task.answer)) if keys else None
        if past is None or not past.text or (task.answer and not past.answer):
            malformed[keys] += 1
        else:
            items.append(past)
    return Question(name, str(entry.get("user_id", "")), told, payload, tuple(items), gold.strip(), labels)


def _date(item: Any) -> tuple[int, ...]:
    """2016-05-03 or seconds, () for none."""
    return tuple(map(int, re.findall(r"\d+", str(item.get("date", ""))))) if isinstance(item, dict) else ()


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key, "")
    value = int(value) if isinstance(value, float) and value.is_integer() else value  # a score of 5.0
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _listed(told: str, task: Task, path: Path, name: str) -> tuple[str, ...]:
    """The answers that a question lists: their order differs from one to the next."""
    if task.kind == "text":
        return ()
    match = LISTED.search(told)
    labels = tuple(label.strip() for label in match["labels"].split(",")) if match else ()
    if not labels or not all(labels) or len(set(labels)) < len(labels):
        raise CannotRun(f"the question {name} of {path} lists no answers, as {task.name} does: is it of that task?")
    return labels


def _payload(told: str, task: Task, path: Path, name: str) -> str:
    if task.name == "LaMP_1":  # the two titles to choose from
        if match := CANDIDATES.search(told):
            return f"{match['one']} {match['two']}"
    elif not task.before:
        return told
    elif ends := [told.index(words) + len(words) for words in task.before if words in told]:
        return told[min(ends) :].strip()
    wanted = " or ".join(task.before) or '[1]: "..." [2]: "..."'
    raise CannotRun(f"the question {name} of {path} does not say {wanted!r}, as {task.name} does: is it of that task?")


def candidates(question: Question) -> tuple[str, str]:
    """The two titles of a LaMP-1 question."""
    match = CANDIDATES.search(question.input)
    assert match  # `read` looked
    return match["one"], match["two"]


# ---- fetching


def fetch(task: str, split: str, folder: Path) -> Iterator[str]:
    """Download the questions and the outputs of a split, as `LaMP_2_new dev` or `time/LaMP_5 dev`; yields lines of
    progress. What a broken download left goes on where it was. Raises CannotRun."""
    match = TASK.fullmatch(task)
    if not match or (match["new"] and match["number"] != "2"):
        raise CannotRun(f"{task!r} cannot be fetched: say LaMP_1, LaMP_2_new (movies), LaMP_2 (news), 3, 4, 5 or 7, "
                        "with time/ before it for the split by time")  # fmt: skip
    if split not in ("train", "dev"):
        raise CannotRun(f"{split!r} cannot be fetched: say train or dev (the answers of test are not published)")
    where = f"{match['time'] or ''}LaMP_{match['number']}{'/new' if match['new'] else ''}/{split}"
    folder.mkdir(parents=True, exist_ok=True)
    with httpx.Client(follow_redirects=True, timeout=60, headers={"Accept-Encoding": "identity"}) as client:
        for kind in ("outputs", "questions"):  # the small one first: a wrong address shows at once
            path = folder / f"{split}_{kind}.json"
            if path.exists():
                if kind == "outputs" and (named := _golds(path)[0]) != f"LaMP_{match['number']}":
                    raise CannotRun(f"{path} is there and of {named}: give each task and split a folder of its own")
                yield f"{path} is there"
                continue
            url = f"{OFFICIAL}/{where}/{path.name}"
            try:
                yield from _download(client, url, path)
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
                raise CannotRun(f"{url} broke off ({why}): the same command goes on where it was") from error


def _download(client: httpx.Client, url: str, path: Path) -> Iterator[str]:
    part = path.with_name(f"{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
        if answer.status_code == 416:  # the file there is no longer than what is here: begin anew
            part.unlink()
            raise CannotRun(f"{part} did not fit what is at {url} and was deleted: run the same command again")
        if answer.status_code not in (200, 206):
            raise CannotRun(f"{url} answered {answer.status_code}: check the task and the split, or try later")
        if "html" in answer.headers.get("Content-Type", ""):
            raise CannotRun(f"{url} answered with a web page and not with JSON: the address is wrong or has moved")
        start = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        whole = start + int(length) if length else None
        told = start
        with part.open("ab" if start else "wb") as file:
            for chunk in answer.iter_raw():
                if not file.tell() and chunk.lstrip()[:1] not in (b"[", b"{"):
                    file.close()
                    part.unlink()
                    raise CannotRun(f"{url} answered with no JSON (it begins {chunk[:20]!r}): the address has moved")
                file.write(chunk)
                if file.tell() - told >= STEP or file.tell() == whole:
                    told = file.tell()
                    yield f"{path.name}: {told / 1e6:.1f}{f' of {whole / 1e6:.1f}' if whole else ''} MB"
    size = part.stat().st_size
    if size != whole and whole is not None:
        raise CannotRun(f"{part} has {size} bytes of {whole}: run the same command again, it goes on there")
    part.rename(path)
