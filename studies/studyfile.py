"""A study as its author writes it: one TOML file, read whole and checked before anybody comes."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from engine.methods import ARMS, METHODS, arm_id
from studies.schedule import HUMAN, TOPICS, Design, Kind

Source = Literal["likes", "import", "assigned", "none"]
MAX_ARMS = 8  # 56 pairs a block: more than a session holds
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

    `profile` says where each rater's taste comes from: `likes` cards swiped first, their own import, one of the people
    in the file `people` in turn, or none at all. `texts` come from the pool that was written beforehand, or live.
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
    codes: Mapping[str, str] = field(default_factory=dict)  # completed, left, no_consent
    url: str = ""  # where the code is handed in, with {code} in it
    minutes: float = 30.0  # without a sign of life, after which a slot goes to the next rater
    models: tuple[str, ...] = ()  # that arms name after an @

    @property
    def settings(self) -> dict[str, Any]:
        """Plain JSON values: the whole protocol."""
        files = {name: str(getattr(self, name) or "") for name in ("people", "posts")}
        return asdict(self) | files | {"design_id": self.design.id}


def read(path: Path) -> Study:
    """The study in a file. Raises StudyError."""
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): check its name and permission") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"{path} is no TOML ({error}): mend that place") from error
    return _Reader(path, text).study(told)


class _Reader:
    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines = path, text.splitlines()

    def study(self, told: dict[str, Any]) -> Study:
        sections = {"study", "arms", "profile", "survey", "completion"}
        self._known(told, sections, "")
        for name in ("study", "arms"):
            if not isinstance(told.get(name), dict):
                self._fail(name, f"the section [{name}] is missing")
        study, arms = told["study"], told["arms"]
        self._known(
            study,
            {"title", "seed", "kinds", "interleaved", "blocks", "repeat_every", "same", "salad", "topics", "practice"}
            | {"consent", "instructions", "scale", "minutes"},
            "study",
        )
        self._known(arms, {"methods", "human_posts", "texts"}, "arms")
        profile = told.get("profile", {})
        self._known(profile, {"source", "likes", "people"}, "profile")
        names, models = self._arms(arms)
        posts = self._file(arms, "human_posts")
        if HUMAN in names and posts is None:
            self._fail("human_posts", 'the arm "human" needs a table of posts by people')
        texts = self._choice(arms, "texts", ("live", "pool"), "live")
        if models and texts != "pool":
            self._fail("texts", 'arms by other models need texts = "pool": one model is in memory at a time')
        kinds = self._kinds(study)
        salad = self._number(study, "salad", 1, 0)
        if salad and posts is None:
            key = "salad" if "salad" in study else "methods"
            self._fail(key, "word salad is made of human_posts: name a table, or salad = 0")
        source = self._choice(profile, "source", get_args(Source), "likes")
        people = self._file(profile, "people")
        if (source == "assigned") != (people is not None):
            self._fail("people" if people else "source", 'source = "assigned" and a file of people belong together')
        if texts == "pool" and source in ("likes", "import"):
            self._fail("texts", 'a pool is written before the raters come: source = "assigned" or "none"')
        design = Design(
            seed=self._number(study, "seed", 0, 0),
            arms=tuple(names),
            kinds=kinds,
            blocks=self._number(study, "blocks", 1, 1),
            repeat_every=self._number(study, "repeat_every", 10, 1),
            same=self._number(study, "same", 1, 0),
            salad=salad,
            interleaved=self._of(study, "interleaved", bool, False),
            topics=tuple(self._strings(study, "topics", TOPICS)),
        )
        if design.repeat_every > 10:
            self._fail("repeat_every", "at least one in 10 is shown again, or nobody knows how sure raters are")
        return Study(
            title=self._of(study, "title", str, path_title(self._path)),
            design=design,
            consent=self._needed(study, "consent"),
            instructions=self._needed(study, "instructions"),
            profile=source,  # type: ignore[arg-type]
            likes=self._number(profile, "likes", 10, 3),
            people=people,
            posts=posts,
            texts=texts,  # type: ignore[arg-type]
            practice=self._number(study, "practice", 2, 0),
            scale=self._choice(study, "scale", ("funny", "five"), "funny"),  # type: ignore[arg-type]
            survey=self._survey(told.get("survey", [])),
            codes=self._codes(told.get("completion", {})),
            url=self._of(told.get("completion", {}), "url", str, ""),
            minutes=self._number(study, "minutes", 30, 1),
            models=models,
        )

    def _arms(self, arms: dict[str, Any]) -> tuple[list[str], tuple[str, ...]]:
        said = self._strings(arms, "methods", ())
        names, models = [], []
        for name in said:
            way, _, model = name.partition(MODEL)
            found = way if way in (HUMAN, *ARMS) else arm_id(METHODS[way]()) if way in METHODS else ""
            if not found or (found == HUMAN and model):
                known = ", ".join((*METHODS, HUMAN))
                self._fail("methods", f"{name!r} is no way of writing: use {known}, or an arm's id")
            names.append(f"{found}{MODEL}{model}" if model else found)
            models += [model] if model else []
        if len(set(names)) < len(names):
            self._fail("methods", "an arm stands there twice")
        if not 2 <= len(names) <= MAX_ARMS:
            self._fail("methods", f"a study compares 2 to {MAX_ARMS} arms, so that a block fits into a session")
        return names, tuple(dict.fromkeys(models))

    def _kinds(self, study: dict[str, Any]) -> tuple[Kind, ...]:
        kinds = self._strings(study, "kinds", ("pair",))
        if not kinds or set(kinds) - set(get_args(Kind)) or len(set(kinds)) < len(kinds):
            self._fail("kinds", f"kinds are some of {', '.join(get_args(Kind))}, each once")
        return tuple(kinds)  # type: ignore[arg-type]

    def _survey(self, told: Any) -> tuple[Question, ...]:
        if not isinstance(told, list) or not all(isinstance(question, dict) for question in told):
            self._fail("survey", "each question is a [[survey]] of its own")
        questions = []
        for question in told:
            self._known(question, {"id", "text", "options", "required"}, "survey")
            questions.append(
                Question(
                    self._needed(question, "id"),
                    self._needed(question, "text"),
                    tuple(self._strings(question, "options", ())),
                    self._of(question, "required", bool, False),
                )
            )
        if len({question.id for question in questions}) < len(questions):
            self._fail("id", "two questions have the same id")
        return tuple(questions)

    def _codes(self, told: dict[str, Any]) -> dict[str, str]:
        self._known(told, {"completed", "left", "no_consent", "url"}, "completion")
        return {name: self._of(told, name, str, "") for name in told if name != "url"}

    def _known(self, told: dict[str, Any], known: set[str], section: str) -> None:
        for key in told:
            if key not in known:
                where = f"in [{section}]" if section else "at the top"
                self._fail(key, f"{key!r} is not known {where}: use {', '.join(sorted(known))}")

    def _of(self, told: dict[str, Any], key: str, kind: type, default: Any) -> Any:
        value = told.get(key, default)
        if type(value) is not kind:
            self._fail(key, f"{key} is {value!r}, not a {kind.__name__}")
        return value

    def _number(self, told: dict[str, Any], key: str, default: int, least: int) -> int:
        value: int = self._of(told, key, int, default)
        if value < least:
            self._fail(key, f"{key} is at least {least}")
        return value

    def _needed(self, told: dict[str, Any], key: str) -> str:
        value: str = self._of(told, key, str, "").strip()
        if not value:
            self._fail(key, f"{key} is missing or empty")
        return value

    def _choice(self, told: dict[str, Any], key: str, options: tuple[str, ...], default: str) -> str:
        value: str = self._of(told, key, str, default)
        if value not in options:
            self._fail(key, f"{key} is {value!r}: use {', '.join(options)}")
        return value

    def _strings(self, told: dict[str, Any], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = told.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self._fail(key, f"{key} is a list of texts")
        return tuple(value)

    def _file(self, told: dict[str, Any], key: str) -> Path | None:
        name: str = self._of(told, key, str, "")
        if not name:
            return None
        path = (self._path.parent / name).resolve()
        if not path.is_file():
            self._fail(key, f"{key} names {name}, which is not there (looked for beside the study file)")
        return path

    def _fail(self, key: str, why: str) -> None:
        stands = re.compile(rf"\s*(\[+\s*)?{re.escape(key)}\b")
        line = next((n for n, text in enumerate(self._lines, 1) if stands.match(text)), 1)
        raise StudyError(f"{self._path}, line {line}, {key}: {why}")


def path_title(path: Path) -> str:
    return path.stem.replace("_", " ").replace("-", " ")
