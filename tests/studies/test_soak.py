"""The soak's bookkeeping: it finds what a store has otherwise than a visitor was told, and how memory grows."""

import hashlib
from pathlib import Path

import pytest

from studies.benchmarks.soak import Visitor, _memory
from studies.house import VISITORS
from studies.store import ME, Store
from tests.studies.test_store import pair, voted


def test_what_was_acknowledged_is_held_against_what_is_stored(tmp_path: Path) -> None:
    visitor = Visitor("", 0, 0.0, tmp_path)
    room = tmp_path / VISITORS / hashlib.sha256(visitor.cookie.encode()).hexdigest()[:32]
    assert visitor.differs(tmp_path) == ["visitor 0 has no room"]
    store = Store(room)
    store.open_session("a", ME)
    kept, undone = voted(store, pair(store), "left"), voted(store, pair(store), "right")
    store.undo("a", "pair")
    visitor.keep(kept, "pair", "left"), visitor.keep(undone, "pair", "right")
    visitor.undone.add(undone)
    assert visitor.differs(tmp_path) == []
    visitor.votes[kept] = "right", ()
    assert visitor.differs(tmp_path) == [f"changed {kept}"]
    del visitor.votes[kept]
    visitor.keep("f" * 32, "pair", "both")
    visitor.undone.clear()
    assert sorted(visitor.differs(tmp_path)) == sorted(
        [f"lost {'f' * 32}", f"not acknowledged {kept}", f"undo of {undone}"]
    )
    visitor.keep("f" * 32, "pair", "both")
    assert visitor.wrong == [f"pair {'f' * 32} was acknowledged twice"]


@pytest.mark.parametrize("a_minute", [0.0, 10.0])
def test_growth_is_told_after_the_warm_up(a_minute: float) -> None:
    later = [(second, 1000 + a_minute * (second - 600) / 60, 4, 9) for second in range(600, 1800)]
    samples = [(second, 500.0, 4, 9) for second in range(600)] + later
    told = _memory(samples, 1800)
    assert told["growth_thirds_percent"] == pytest.approx(100 * 10 * a_minute / (1000 + 5 * a_minute), abs=0.1)
    assert told["growth_line_percent"] == pytest.approx(2 * a_minute, abs=0.1)
