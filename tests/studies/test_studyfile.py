"""Study files: the examples are read as they say, and what is broken is told with its line and key."""

import hashlib
from pathlib import Path

import pytest

from collectors.detect import open_source
from engine.methods import arm_id
from engine.methods.history import History
from studies.schedule import HUMAN, steps
from studies.studyfile import StudyError, public, read

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
        (('"history"]', '"human"]'), 'line 6, human_posts: the arm "human" needs a table'),
        (("salad = 0", "salad = 1"), "line 5, salad: word salad is made of human_posts"),
        (("salad = 0", 'salad = "no"'), "line 5, salad: salad is 'no', not a int"),
        (("salad = 0", "salad = 0\nblocks = 0"), "line 6, blocks: blocks is at least 1"),
        (("salad = 0", "salad = 0\ntopics = []"), "line 6, topics: topics are one or more, each once"),
        (("salad = 0", 'salad = 0\ntopics = ["a", "b", "a"]'), "line 6, topics: topics are one or more, each once"),
        (("salad = 0", "salad = 0\nrepeat_every = 20"), "line 6, repeat_every: at least one in 10"),
        (("salad = 0", 'salad = 0\nkinds = ["pears"]'), "line 6, kinds: kinds are some of pair, card, mark"),
        (('consent = "Yes?"', 'consent = " "'), "line 3, consent: consent is missing or empty"),
        (('instructions = "Choose."\n', ""), "line 2, instructions: instructions is missing or empty"),
        (('"history"]', '"history"]\nhuman_posts = "no.csv"'), "line 8, human_posts: human_posts names no.csv"),
        (('"history"]', '"history@big"]'), 'line 6, texts: arms by other models need texts = "pool"'),
        (('"history"]', '"history"]\ntexts = "pool"'), "line 8, texts: a pool is written before the raters come"),
        (
            ('"history"]', '"history"]\n[profile]\nsource = "assigned"'),
            'line 9, source: source = "assigned" and a file',
        ),
        (('"history"]', '"history"]\n[profile]\nsource = "mine"'), "line 9, source: source is 'mine': use likes"),
        (('"history"]', '"history"]\n[[survey]]\nid = "a"'), "line 8, text: text is missing or empty"),
        (('"history"]', '"history"]\n[survey]\nid = "a"'), "line 8, survey: each question is a [[survey]]"),
        (('"history"]', '"history"]\n[completion]\ncode = "a"'), "line 9, code: 'code' is not known in [completion]"),
        (("salad = 0", 'salad = 0\nkinds = ["pair", "mark"]\nblocks = [2]'), "line 7, blocks: blocks is one number"),
        (
            ("salad = 0", "salad = 0\nblocks = [2, 2]"),
            "line 6, blocks: blocks is one number of at least 1, or a list of 1",
        ),
        (("salad = 0", "salad = 0\nblocks = [0]"), "line 6, blocks: blocks is one number of at least 1"),
        (("salad = 0", "salad = 0\nblocks = [true]"), "line 6, blocks: blocks is one number of at least 1"),
        (("salad = 0", 'salad = 0\nblocks = "2"'), "line 6, blocks: blocks is '2', not a int"),
        (('"history"]', '"history"]\n[completion]\nleft = "a"'), "line 8, completed: the code of those who finish is"),
        (('"history"]', '"history"]\n[completion]\nurl = "https://x/{code}"'), "line 8, completed: the code of those"),
        (
            ('"history"]', '"history"]\n[completion]\ncompleted = "a"\nurl = "https://x/?c=a"'),
            "line 10, url: the address must hold {code}",
        ),
        (
            ('"history"]', '"history"]\n[completion]\ncompleted = "a"\nurl = "http://x/{code}"'),
            "line 10, url: the address must begin with https://",
        ),
        (('"history"]', '"history"]\n[[survey]]\nid = "Age"\ntext = "?"'), "line 9, id: 'Age' names a column"),
        (('"history"]', '"history"]\n[[survey]]\nid = "how old"\ntext = "?"'), "line 9, id: 'how old' names a column"),
        (('"history"]', '"history"]\n[profile]\nsource = "none"\nlikes = 5'), "line 10, likes: likes are the fewest"),
        (('"history"]', '"history"]\n[profile]\nsource = "import"\nlikes = 2'), "line 10, likes: likes is at least 3"),
        (("[arms]", "[[arms]]"), "line 6, arms: arms is a section of its own: [arms]"),
    ],
)
def test_what_is_broken_is_told_with_its_line_and_key(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in LEAST
    message = said(tmp_path, LEAST.replace(*change))
    assert told.replace("\\", "").split(".*")[0] in message
    assert len(message.splitlines()) == 1


SECTIONS = '''
[completion]
completed = "A"
url = "https://example.org/?cc={code}"

[[survey]]
id = "age"
text = "How old are you?"
[[survey]]
id = "why"
text = "Why?"

[profile]
source = "none"

[study]
title = """
[arms]
methods = 3
text = ""
"""
consent = "Yes?"
instructions = "Choose."
salad = 0

[arms]
methods = ["none", "history"]
texts = "pool"
'''


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('["none", "history"]', "3"), "line 27, methods: methods is a list of texts"),
        (('id = "why"', 'id = "age"'), "line 10, id: another question has the id 'age' already"),
        (('text = "Why?"', 'text = " "'), "line 11, text: text is missing or empty"),
        (('text = "Why?"\n', ""), "line 9, text: text is missing or empty"),
        (('id = "age"', 'id = "age"\nurl = ""'), "line 8, url: 'url' is not known in [survey]"),
        (('texts = "pool"', 'texts = "pool"\nsource = 1'), "line 29, source: 'source' is not known in [arms]"),
        (('source = "none"', 'source = "likes"'), "line 28, texts: a pool is written before the raters come"),
        (('consent = "Yes?"', "consent = 1"), "line 22, consent: consent is 1, not a str"),
    ],
)
def test_a_key_of_several_sections_is_told_where_it_is_wrong(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    (tmp_path / "study.toml").write_text(SECTIONS)
    assert read(tmp_path / "study.toml").title.startswith("[arms]")
    assert change[0] in SECTIONS
    assert told in said(tmp_path, SECTIONS.replace(*change))


def test_blocks_may_be_a_number_for_each_kind(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(LEAST.replace("salad = 0", 'salad = 0\nkinds = ["mark", "pair"]\nblocks = [6, 2]'))
    assert read(path).design.blocks == (6, 2)
    path.write_text(LEAST.replace("salad = 0", "salad = 0\nblocks = 3"))
    assert read(path).design.blocks == 3


def test_an_import_may_ask_for_a_number_of_likes(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(LEAST + '[profile]\nsource = "import"\nlikes = 25')
    assert read(path).likes == 25


def test_codes_may_be_missing_and_empty_ones_are(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(LEAST)
    assert read(path).codes == {}
    path.write_text(LEAST + '[completion]\ncompleted = "A"\nleft = " "')
    assert read(path).codes == {"completed": "A"}


def test_the_settings_tell_which_posts_and_people_by_digest(tmp_path: Path) -> None:
    path, posts = tmp_path / "study.toml", tmp_path / "posts.csv"
    posts.write_text("text\nA duck waited.\n")
    path.write_text(LEAST.replace('"history"]', '"history"]\nhuman_posts = "posts.csv"'))
    study = read(path)
    before = study.settings
    assert before["posts_sha256"] == hashlib.sha256(posts.read_bytes()).hexdigest()
    assert before["people_sha256"] == ""
    posts.write_text("text\nA goose waited.\n")
    after = study.settings
    assert {key for key in before if before[key] != after[key]} == {"posts_sha256"}
    posts.unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        _ = study.settings


def test_a_file_that_is_not_there_or_is_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        read(tmp_path / "no.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="is no TOML"):
        read(tmp_path / "b.toml")


def test_folders_are_nobodys_business():
    told = {
        "why": "FileNotFoundError: [Errno 2] No such file: '/home/alice/secret/adapter.safetensors'",
        "design": {"arms": ["none-79049c@/home/alice/models/q4", "none@Qwen/Qwen2.5-1.5B-Instruct"]},
        "posts": "/srv/studies/posts.csv",
        "windows": "C:\\Users\\alice\\q4.gguf is gone",
        "consent": "Write to https://example.org/about/us or tea/coffee/water, and/or call 3/4.",
    }
    said = public(told)
    assert said["why"].endswith("No such file: 'adapter.safetensors'")
    assert said["design"]["arms"] == ["none-79049c@q4", "none@Qwen/Qwen2.5-1.5B-Instruct"]
    assert said["posts"] == "posts.csv"
    assert said["windows"] == "q4.gguf is gone"
    assert said["consent"] == told["consent"]
