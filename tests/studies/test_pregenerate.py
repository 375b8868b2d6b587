"""A pool is filled model by model, goes on where it was broken off, and its arms meet in the blind schedule."""

from collections import Counter
from pathlib import Path

import pytest

from studies.pregenerate import fill
from studies.register import Register
from studies.rooms import Room
from studies.store import Store
from studies.studyfile import StudyError, read
from tests.studies.test_rooms import begin, judge, trials

FILE = """
[study]
title = "Sizes"
seed = 1
practice = 0
same = 0
salad = 0
topics = ["cats", "airports", "pigeons"]
consent = "Yes?"
instructions = "Choose."
[arms]
methods = ["none@{small}", "none@{other}", "reranked@{other}"]
texts = "pool"
[profile]
source = "none"
"""


@pytest.fixture
def file(tmp_path: Path, tiny_folder: Path) -> Path:
    other = tmp_path / "another-size"
    other.symlink_to(tiny_folder)
    path = tmp_path / "study.toml"
    path.write_text(FILE.format(small=tiny_folder, other=other).replace(f', "reranked@{other}"', ""))
    return path


def test_a_pool_is_filled_once_and_goes_on_where_it_was_broken_off(file: Path, tmp_path: Path) -> None:
    study, store = read(file), Store(tmp_path / "data")
    filling = fill(store, study, {}, quantize="none")
    for line in filling:
        if line.startswith("nobody"):
            break
    filling.close()
    held = Register(store)
    first = held.pooled(study.design.id, "")
    assert 0 < len(first) <= 6
    with pytest.raises(StudyError, match="pool lacks"):
        Room(store, study)
    told = list(fill(store, study, {}, quantize="none"))
    assert told[-1] == "the pool is full"
    pool = held.pooled(study.design.id, "")
    assert first.items() <= pool.items()
    assert Counter(arm for arm, _, _ in pool) == dict.fromkeys(study.design.arms, 6)
    assert list(fill(store, study, {}, quantize="none")) == ["the pool is full"]  # no model is loaded for nothing
    room = Room(store, study, clocked=False)
    begin(room, "a")
    judge(room, "a")
    assert {row["left_arm"] for row in trials(room)} == set(study.design.arms)
    assert store.db.rows("select distinct engine from pool where engine = ''") == []


def test_an_arm_that_cannot_run_for_nobody_is_told(file: Path, tmp_path: Path, tiny_folder: Path) -> None:
    file.write_text(FILE.format(small=tiny_folder, other=tiny_folder).replace("none@", "history@", 1))
    with pytest.raises(StudyError, match=r"history-\w+@.* cannot run for nobody"):
        list(fill(Store(tmp_path / "data"), read(file), {}, quantize="none"))
