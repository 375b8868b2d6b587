"""A study as its author writes it: one TOML file, read whole and checked before anybody comes."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from engine.methods import ARMS, METHODS, arm_id
from studies.schedule import HUMAN, TOPICS, Design, Kind

Source = Literal["likes", "import", "assigned", "none"]
MAX_ARMS = 8  # 56 pairs a block: more than a session holds
WITHHELD = ("codes", "url")  # settings that hold what a rater gets at the end
PATHS = ("people", "posts")  # settings that tell where files lie on somebody's machine
CODES = ("completed", "left", "no_consent")  # what a rater may end with
IDS = re.compile(r"[a-z0-9_-]+")  # of questions: they name columns of the export
MODEL = "@"  # in the name of an arm: the same way of writing by another model


class StudyError(ValueError):
    """A study file that cannot be run. The message names file, line and key, and says what to do."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the survey. Without `options` it takes free text."""

    id: str
    text: str
    options: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Study:
    """What a study file says, paths made absolute.

    `profile` says where each rater's taste comes from: cards swiped until `likes` are liked, their own import with at
    least as many likes, one of the people in the file `people` in turn, or none at all. `texts` come from the pool that
    was written beforehand, or live.
    """

    title: str
    design: Design
    consent: str
    instructions: str
    profile: Source = "likes"
    likes: int = 10
    people: Path | None = None
    posts: Path | None = None
    texts: Literal["live", "pool"] = "live"
    practice: int = 2
    scale: Literal["funny", "five"] = "funny"  # of marks
    survey: tuple[Question, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)  # by CODES, those that were given
    url: str = ""  # where the code is handed in, with {code} in it
    debriefing: str = ""  # what raters read at the end, in Markdown
    minutes: float = 30.0  # without a sign of life, after which a slot goes to the next rater
    models: tuple[str, ...] = ()  # that arms name after an @

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON values: the whole protocol, with digests of the files that it names."""
        files = {name: str(getattr(self, name) or "") for name in PATHS}
        digests = {f"{name}_sha256": _sha256(getattr(self, name)) for name in PATHS}
        return asdict(self) | files | digests | {"design_id": self.design.id}


def _sha256(path: Path | None) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): check its name and permission") from error


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that anybody may read: without what raters could be paid by, and files without their folders."""
    told = {key: "set, withheld here" if key in WITHHELD and value else value for key, value in settings.items()}
    plain: dict[str, Any] = json.loads(without_folders(json.dumps(told, default=list, ensure_ascii=False)))
    return plain


def without_folders(text: str) -> str:
    """A text in which every path from a root is its last part: folders tell whose machine it was."""
    return _PATH.sub(lambda found: found[1] or found[2], text)


def read(path: Path) -> Study:
    """The study in a file. Raises StudyError."""
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): check its name and permission") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"{path} is no TOML ({error}): mend that place") from error
    return _study(path, told, _lines(text))


class _Section:
    """One table of the file: its values, each checked when it is asked for, and the lines where they stand."""

    def __init__(self, path: Path, name: str, told: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        self.path, self.name, self.told, self.lines = path, name, told, lines

    def __contains__(self, key: str) -> bool:
        return key in self.told

    def known(self, *keys: str) -> None:
        for key in self.told:
            if key not in keys:
                where = f"in [{self.name}]" if self.name else "at the top"
                self.fail(key, f"{key!r} is not known {where}: use {', '.join(sorted(keys))}")

    def of(self, key: str, kind: type, default: Any) -> Any:
        value = self.told.get(key, default)
        if type(value) is not kind:
            self.fail(key, f"{key} is {value!r}, not a {kind.__name__}")
        return value

    def number(self, key: str, default: int, least: int) -> int:
        value: int = self.of(key, int, default)
        if value < least:
            self.fail(key, f"{key} is at least {least}")
        return value

    def numbers(self, key: str, default: int, least: int, count: int) -> int | tuple[int, ...]:
        """One number, or a list of `count`."""
        value = self.told.get(key, default)
        if not isinstance(value, list):
            return self.number(key, default, least)
        if len(value) != count or not all(type(each) is int and each >= least for each in value):
            self.fail(key, f"{key} is one number of at least {least}, or a list of {count}: one for each of kinds")
        return tuple(value)

    def needed(self, key: str) -> str:
        value: str = self.of(key, str, "").strip()
        if not value:
            self.fail(key, f"{key} is missing or empty")
        return value

    def choice(self, key: str, options: tuple[str, ...], default: str) -> str:
        value: str = self.of(key, str, default)
        if value not in options:
            self.fail(key, f"{key} is {value!r}: use {', '.join(options)}")
        return value

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self.told.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self.fail(key, f"{key} is a list of texts")
        return tuple(value)

    def file(self, key: str) -> Path | None:
        name: str = self.of(key, str, "")
        if not name:
            return None
        path = (self.path.parent / name).resolve()
        if not path.is_file():
            self.fail(key, f"{key} names {name}, which is not there (looked for beside the study file)")
        return path

    def fail(self, key: str, why: str) -> NoReturn:
        """Names the key's line in this section, or where the section begins if the key is missing."""
        line = self.lines.get(key, self.lines.get("", 1))
        raise StudyError(f"{self.path}, line {line}, {key}: {why}")


_PATH = re.compile(
    r"""(?<![\w:/.])/(?:[^\s'"/\\]+/)+([^\s'"/\\,;)]+)|\b[A-Za-z]:(?:\\+[^\s'"/\\]+)*\\+([^\s'"/\\,;)]+)"""
)
_HEADER = re.compile(r"\s*\[\[?\s*[\"']?([\w-]+)[\"']?\s*\]")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]\s*(.*)")
_LONG = ('"""', "'''")  # what a text of several lines stands in


def _lines(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """The lines of keys, by section and its turn (there are several [[survey]]); its header is the line of "".

    tomllib keeps no places. Headers and keys inside a text of several lines are none.
    """
    turn, name, inside = 0, "", ""
    found: dict[tuple[str, int], dict[str, int]] = {("", 0): {}}
    for number, line in enumerate(text.split("\n"), 1):
        if inside:
            inside = "" if inside in line else inside
        elif header := _HEADER.match(line):
            name = header[1]
            turn = sum(known == name for known, _ in found)
            found[name, turn] = {"": number}
            found["", 0].setdefault(name, number)
        elif key := _KEY.match(line):
            found[name, turn].setdefault(key[1], number)
            inside = next((q for q in _LONG if key[2].startswith(q) and q not in key[2][3:]), "")
    return found


def _study(path: Path, told: dict[str, Any], lines: Mapping[tuple[str, int], Mapping[str, int]]) -> Study:
    top = _Section(path, "", told, lines["", 0])
    top.known("study", "arms", "profile", "survey", "completion")

    def section(name: str, *keys: str) -> _Section:
        values = top.told.get(name, {})
        if not isinstance(values, dict):
            top.fail(name, f"{name} is a section of its own: [{name}]")
        there = _Section(path, name, values, lines.get((name, 0), {"": top.lines.get(name, 1)}))
        there.known(*keys)
        return there

    for name in ("study", "arms"):
        if name not in top:
            top.fail(name, f"the section [{name}] is missing")
    study = section(
        "study",
        *("title", "seed", "kinds", "interleaved", "blocks", "repeat_every", "same", "salad", "topics", "practice"),
        *("consent", "instructions", "debriefing", "scale", "minutes"),
    )
    arms = section("arms", "methods", "human_posts", "texts")
    profile = section("profile", "source", "likes", "people")
    completion = section("completion", *CODES, "url")
    names, models = _arms(arms)
    posts = arms.file("human_posts")
    if HUMAN in names and posts is None:
        arms.fail("human_posts", 'the arm "human" needs a table of posts by people')
    texts = arms.choice("texts", ("live", "pool"), "live")
    if models and texts != "pool":
        arms.fail("texts", 'arms by other models need texts = "pool": one model is in memory at a time')
    kinds = study.strings("kinds", ("pair",))
    if not kinds or set(kinds) - set(get_args(Kind)) or len(set(kinds)) < len(kinds):
        study.fail("kinds", f"kinds are some of {', '.join(get_args(Kind))}, each once")
    salad = study.number("salad", 1, 0)
    if salad and posts is None:
        study.fail("salad", "word salad is made of human_posts: name a table, or salad = 0")
    source = profile.choice("source", get_args(Source), "likes")
    people = profile.file("people")
    if (source == "assigned") != (people is not None):
        profile.fail("people" if people else "source", 'source = "assigned" and a file of people belong together')
    if texts == "pool" and source in ("likes", "import"):
        arms.fail("texts", 'a pool is written before the raters come: source = "assigned" or "none"')
    if "likes" in profile and source not in ("likes", "import"):
        profile.fail("likes", 'likes are the fewest that a rater brings: with source = "likes" or "import" only')
    design = Design(
        seed=study.number("seed", 0, 0),
        arms=tuple(names),
        kinds=kinds,  # type: ignore[arg-type]
        blocks=study.numbers("blocks", 1, 1, len(kinds)),
        repeat_every=study.number("repeat_every", 10, 1),
        same=study.number("same", 1, 0),
        salad=salad,
        interleaved=study.of("interleaved", bool, False),
        topics=study.strings("topics", TOPICS),
    )
    if not design.topics or len(set(design.topics)) < len(design.topics):
        study.fail("topics", "topics are one or more, each once")
    if design.repeat_every > 10:
        study.fail("repeat_every", "at least one in 10 is shown again, or nobody knows how sure raters are")
    codes, url = _completion(completion)
    return Study(
        title=study.of("title", str, path_title(path)),
        design=design,
        consent=study.needed("consent"),
        instructions=study.needed("instructions"),
        debriefing=study.of("debriefing", str, ""),
        profile=source,  # type: ignore[arg-type]
        likes=profile.number("likes", 10, 3),
        people=people,
        posts=posts,
        texts=texts,  # type: ignore[arg-type]
        practice=study.number("practice", 2, 0),
        scale=study.choice("scale", ("funny", "five"), "funny"),  # type: ignore[arg-type]
        survey=_survey(top, lines),
        codes=codes,
        url=url,
        minutes=study.number("minutes", 30, 1),
        models=models,
    )


def _arms(arms: _Section) -> tuple[list[str], tuple[str, ...]]:
    names, models = [], []
    for name in arms.strings("methods", ()):
        way, _, model = name.partition(MODEL)
        found = way if way in (HUMAN, *ARMS) else arm_id(METHODS[way]()) if way in METHODS else ""
        if not found or (found == HUMAN and model):
            known = ", ".join((*METHODS, HUMAN))
            arms.fail("methods", f"{name!r} is no way of writing: use {known}, or an arm's id")
        names.append(f"{found}{MODEL}{model}" if model else found)
        models += [model] if model else []
    if len(set(names)) < len(names):
        arms.fail("methods", "an arm stands there twice")
    if len({without_folders(name) for name in names}) < len(names):
        arms.fail("methods", "two models have the same name in other folders: a report could not tell them apart")
    if not 2 <= len(names) <= MAX_ARMS:
        arms.fail("methods", f"a study compares 2 to {MAX_ARMS} arms, so that a block fits into a session")
    return names, tuple(dict.fromkeys(models))


def _survey(top: _Section, lines: Mapping[tuple[str, int], Mapping[str, int]]) -> tuple[Question, ...]:
    told = top.told.get("survey", [])
    if not isinstance(told, list) or not all(isinstance(question, dict) for question in told):
        top.fail("survey", "each question is a [[survey]] of its own")
    questions: list[Question] = []
    for turn, values in enumerate(told):
        asked = _Section(top.path, "survey", values, lines.get(("survey", turn), {"": top.lines.get("survey", 1)}))
        asked.known("id", "text", "options", "required")
        name = asked.needed("id")
        if not IDS.fullmatch(name):
            asked.fail("id", f"{name!r} names a column: use small letters, digits, _ and -")
        if name in (question.id for question in questions):
            asked.fail("id", f"another question has the id {name!r} already")
        options, required = asked.strings("options", ()), asked.of("required", bool, False)
        questions.append(Question(name, asked.needed("text"), options, required))
    return tuple(questions)


def _completion(told: _Section) -> tuple[dict[str, str], str]:
    codes = {name: code for name in CODES if (code := told.of(name, str, "").strip())}
    url: str = told.of("url", str, "").strip()
    if url and "{code}" not in url:
        told.fail("url", "the address must hold {code}, in whose place each rater's code is put")
    if url and not url.startswith("https://"):
        told.fail("url", "the address must begin with https://: the page shows no other")
    if (codes or url) and "completed" not in codes:
        told.fail("completed", "the code of those who finish is missing: they could not be told from the others")
    return codes, url


def path_title(path: Path) -> str:
    return path.stem.replace("_", " ").replace("-", " ")
