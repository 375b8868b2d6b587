"""What a study is said to ask, before anybody comes; and that it is said fast, and starts nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import app
from collectors.item import CollectError, Item, Signal, write_reactions
from studies.__main__ import main
from studies.checking import checked, told
from studies.made_up import fill, study_file
from studies.store import Store
from studies.studyfile import Study, StudyError, read

ROOT = Path(__file__).parents[2]
STUDY = """
[study]
title = "Ducks"
kinds = ["pair", "mark"]
blocks = [5, 2]
salad = 0
consent = "Yes?"
instructions = "Choose."
[arms]
methods = ["none", "history"]
"""
CODES = '[completion]\ncompleted = "A"\nleft = "B"\nno_consent = "C"\nurl = "https://example.org/?cc={code}"\n'


@pytest.fixture
def write(tmp_path: Path):
    def written(text: str) -> Study:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return read(path)

    return written


def test_three_lines_tell_what_a_rater_does_and_which_codes_are_missing(write) -> None:
    study = write(STUDY)
    # pairs: 10, one repeated, one with the same text twice; marks: 4, one repeated
    assert told(study) == [
        f"study {study.design.id}: Ducks",
        # 14 pairs of 18 s, practice among them, 5 marks and 10 cards of 10.5 s: 410 s
        "each rater: 17 trials (5 mark, 12 pair), after 2 for practice, about 7 minutes",
        "completion codes missing: completed, left, no_consent; who ends so gets none",
    ]
    assert told(write(STUDY + CODES))[2] == "completion codes: all"
    assert "missing: no_consent;" in told(write(STUDY + CODES.replace('no_consent = "C"', "")))[2]
    assert told(write(STUDY.replace("salad = 0", "salad = 0\npractice = 0")))[1].endswith("pair), about 6 minutes")


def test_the_check_counts_trials_by_purpose_and_arms_and_tells_the_profile(write) -> None:
    lines = list(checked(write(STUDY + CODES)))
    for line in (
        "url: raters go there with their code, https://example.org/?cc={code}",
        "pair: 10 main, 1 repeat, 1 same",
        "mark: 4 main, 1 repeat",
        "arm none-79049c: 2 mark, 10 pair; no profile",
        "arm history-2c644d: 2 mark, 10 pair; your latest likes as examples",
        "taste: cards to swipe until 10 are liked",
        "texts: written live, 25 for each rater",  # two a pair, one of the pair that shows one twice, one a mark
    ):
        assert line in lines
    assert "url: none, raters copy their code" in list(checked(write(STUDY)))
    brought = list(checked(write(STUDY + '[profile]\nsource = "import"\nlikes = 25')))
    assert "taste: an export that each rater brings, with at least 25 likes" in brought


def test_posts_and_people_are_counted(write, tmp_path: Path) -> None:
    text = STUDY.replace('["none", "history"]', '["none", "human"]\nhuman_posts = "posts.csv"')
    text += '[profile]\nsource = "assigned"\npeople = "people.jsonl"\n'
    posts = tmp_path / "posts.csv"
    posts.write_text("text\n" + "".join(f"Duck number {n} waited for the bus.\n" for n in range(20)))
    items = [Item("made", str(n), "joke", f"Sock {n} left.") for n in range(5)]
    people = {name: [(item, Signal(item.id, 1)) for item in items[:n]] for name, n in (("ann", 2), ("ben", 5))}
    people["ann"].append((items[4], Signal(items[4].id, -1)))
    write_reactions(tmp_path / "people.jsonl", people.items())
    lines = list(checked(write(text)))
    assert "taste: of 2 people in people.jsonl, in turn, who like 2 to 5 texts each" in lines
    assert "posts by people: 20 in posts.csv, of which a rater meets up to 13" in lines
    posts.write_text("text\nA duck waited for the bus.\n")
    with pytest.raises(StudyError, match=r"has 1 posts .* a rater meets 13"):
        list(checked(read(tmp_path / "study.toml")))
    (tmp_path / "people.jsonl").write_text("nobody\n")
    with pytest.raises(CollectError, match="Line 1"):
        list(checked(read(tmp_path / "study.toml")))


def test_the_pool_is_counted_where_it_lies_and_a_folder_without_one_is_left_alone(tmp_path: Path) -> None:
    study = read(study_file(tmp_path, seed=1, blocks=1, same=1))
    data = tmp_path / "data"
    lines = list(checked(study, data))
    assert any(
        line.startswith("texts: a pool, 1 of each arm about each of 40 topics: 200 to start with") for line in lines
    )
    assert f"the pool in {data} lacks 200 of these: run python -m studies pregenerate" in lines
    assert not data.exists()
    fill(Store(data), study)
    assert f"the pool in {data} is full" in list(checked(study, data))


def test_the_command_says_it_and_tells_what_is_broken_in_one_sentence(
    write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write(STUDY)
    assert main(["check", "--study", str(tmp_path / "study.toml")]) == 0
    assert capsys.readouterr().out.splitlines() == list(checked(study))
    (tmp_path / "study.toml").write_text(STUDY.replace("salad = 0", "salad = -1"))
    assert main(["check", "--study", str(tmp_path / "study.toml")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{tmp_path / 'study.toml'}, line 6, salad: salad is at least 0\n"


def test_the_app_tells_it_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = study_file(tmp_path, seed=1, blocks=1, same=1), tmp_path / "data"
    fill(Store(data), read(file))
    monkeypatch.setattr("demo.page.serve_study", lambda *told: "http://nowhere")
    monkeypatch.setattr(app, "_until_ended", lambda *told: 0)
    monkeypatch.setattr(sys, "argv", ["app.py", "--study", str(file), "--data-dir", str(data), "--port", "0"])
    assert app.main() == 0
    assert capsys.readouterr().out.splitlines() == told(read(file))


SCRIPT = """
import sys
from studies.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
assert "torch" not in sys.modules
main(["check", "--study", "studies/examples/judge.toml"])
main(["backup", "--data-dir", "nowhere", "--out", "nothing"])
print([name for name in ("transformers.models.llama.modeling_llama", "peft", "bitsandbytes") if name in sys.modules])
"""


def test_commands_load_no_more_than_they_need_and_print_nothing_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert done.stderr.startswith("nowhere holds no palate.db")
    assert done.stderr.count("\n") == 1
