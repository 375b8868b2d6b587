"""Study files: the examples are read as they say, and what is broken is told with its line and key."""

from pathlib import Path

import pytest

from collectors.detect import open_source
from engine.methods import arm_id
from engine.methods.history import History
from studies.schedule import HUMAN, steps
from studies.studyfile import StudyError, read

EXAMPLES = Path(__file__).parents[2] / "studies" / "examples"
LEAST = """
[study]
consent = "Yes?"
instructions = "Choose."
salad = 0
[arms]
methods = ["none", "history"]
"""


def said(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(StudyError) as told:
        read(path)
    return str(told.value).removeprefix(f"{path}")


@pytest.mark.parametrize("name", ["pairs", "feed", "judge"])
def test_the_examples_can_be_read_and_fit_into_a_session(name: str) -> None:
    study = read(EXAMPLES / f"{name}.toml")
    assert 8 <= len(steps(study.design, 0)) <= 60
    assert study.title
    assert study.codes["completed"]
    if study.posts:
        assert len(list(open_source(study.posts))) >= sum(HUMAN in (s.left, s.right) for s in steps(study.design, 0))


def test_what_is_not_said_has_a_sensible_value(tmp_path: Path) -> None:
    path = tmp_path / "my_study.toml"
    path.write_text(LEAST)
    study = read(path)
    assert (study.title, study.profile, study.texts, study.likes) == ("my study", "likes", "live", 10)
    assert arm_id(History()) in study.design.arms
    assert study.settings["design_id"] == study.design.id


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[arms]", "[arms"), r"is no TOML \(Expected ']'.*line 6"),
        (("salad = 0", "salad = 0\nsaled = 1"), "line 6, saled: 'saled' is not known in [study]"),
        (("[arms]", "[arm]"), "line 6, arm: 'arm' is not known at the top"),
        (('"history"]', '"histery"]'), "line 7, methods: 'histery' is no way of writing"),
        (('"none", "history"', '"none"'), "line 7, methods: a study compares 2 to 8 arms"),
        (('"none", "history"', '"none", "none"'), "line 7, methods: an arm stands there twice"),
        (('"history"]', '"human"]'), 'line 1, human_posts: the arm "human" needs a table'),
        (("salad = 0", "salad = 1"), "line 5, salad: word salad is made of human_posts"),
        (("salad = 0", 'salad = "no"'), "line 5, salad: salad is 'no', not a int"),
        (("salad = 0", "salad = 0\nblocks = 0"), "line 6, blocks: blocks is at least 1"),
        (("salad = 0", "salad = 0\nrepeat_every = 20"), "line 6, repeat_every: at least one in 10"),
        (("salad = 0", 'salad = 0\nkinds = ["pears"]'), "line 6, kinds: kinds are some of pair, card, mark"),
        (('consent = "Yes?"', 'consent = " "'), "line 3, consent: consent is missing or empty"),
        (('instructions = "Choose."\n', ""), "line 1, instructions: instructions is missing or empty"),
        (('"history"]', '"history"]\nhuman_posts = "no.csv"'), "line 8, human_posts: human_posts names no.csv"),
        (('"history"]', '"history@big"]'), 'line 1, texts: arms by other models need texts = "pool"'),
        (('"history"]', '"history"]\ntexts = "pool"'), "line 8, texts: a pool is written before the raters come"),
        (
            ('"history"]', '"history"]\n[profile]\nsource = "assigned"'),
            'line 9, source: source = "assigned" and a file',
        ),
        (('"history"]', '"history"]\n[profile]\nsource = "mine"'), "line 9, source: source is 'mine': use likes"),
        (('"history"]', '"history"]\n[[survey]]\nid = "a"'), "line 1, text: text is missing or empty"),
        (('"history"]', '"history"]\n[survey]\nid = "a"'), "line 8, survey: each question is a [[survey]]"),
        (('"history"]', '"history"]\n[completion]\ncode = "a"'), "line 9, code: 'code' is not known in [completion]"),
    ],
)
def test_what_is_broken_is_told_with_its_line_and_key(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in LEAST
    message = said(tmp_path, LEAST.replace(*change))
    assert told.replace("\\", "").split(".*")[0] in message
    assert len(message.splitlines()) == 1


def test_a_file_that_is_not_there_or_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        read(tmp_path / "no.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="is no TOML"):
        read(tmp_path / "b.toml")
