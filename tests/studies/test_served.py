"""A room whose model is served elsewhere, by the real `transformers serve`: it writes pairs, and outlives an outage."""

import importlib.util
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine.methods import ARMS, arm_id
from engine.methods.e2p import E2P
from engine.methods.lora import LoRA
from studies import worker
from studies.session import NotReady, Studio
from studies.store import Refused
from studies.writing import made_with
from tests.model_server import transformers_serving
from tests.studies.test_pairs import likes

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openai") is None,
    reason="transformers serve wants the openai package: requirements-dev.txt",
)


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def judge(studio: Studio, pairs: int) -> None:
    for _ in range(pairs):
        studio.vote("a", studio.next_pair("a").id, "left")


def test_pairs_come_from_a_server_and_come_again_after_an_outage(
    tiny_folder: Path, tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setattr(worker, "AGAIN", 0.3)
    monkeypatch.setattr("engine.server.PAUSE", 0.01)
    with ExitStack() as up:
        url = up.enter_context(transformers_serving(tiny_folder))
        studio = Studio.open(tmp_path, runs="openai", base_url=url)
        likes(studio.store, 5)
        studio.enter("a")
        studio.start()
        assert url in studio.engine_line()
        lacking = {way.arm: way.lacks for way in studio.ways("a")}
        assert "takes no soft tokens" in lacking[arm_id(E2P())]
        assert "takes no adapter" in lacking[arm_id(LoRA())]
        assert {ARMS[arm].name for arm, why in lacking.items() if not why} >= {"none", "history", "reranked"}
        studio.choose("a", [])  # the floor alone is quick enough
        with pytest.raises(Refused, match="a server teaches nothing"):
            studio.fit("a", arm_id(LoRA()), lambda: False)
        with pytest.raises(Refused, match="a server teaches nothing"):
            studio.teach("a", arm_id(E2P()), tmp_path / "nobody.jsonl", lambda: False)
        first = studio.next_pair("a")
        [row] = studio.store.db.rows(f"select engine from trial where id = '{first.id}'")
        assert row["engine"] == studio.lm.fingerprint
        assert made_with(studio.lm)["device"] == url
    try:
        with caplog.at_level(logging.WARNING), pytest.raises(NotReady, match="cannot be reached: start it"):
            judge(studio, 9)  # those that were written ahead, and then no more
        with pytest.raises(NotReady, match="cannot be reached: start it"):
            studio.draft_reasons(["A joke."])
        assert not studio.store.ready("me", "pair")
        until(lambda: studio.worker.failures > 3)
        assert caplog.text.count("could not be written") == 1, "told once, however often it is tried"
        with transformers_serving(tiny_folder, int(url.split(":")[2].split("/")[0])):
            until(lambda: studio.store.ready("me", "pair"))  # nobody asked for it
            assert studio.next_pair("a").left_text
    finally:
        studio.close()
