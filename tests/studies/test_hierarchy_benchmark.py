"""What two levels cost beside one: a row is measured, in processes of its own, and both ways find the same items."""

import json

import pytest

from studies.benchmarks import hierarchy


def test_a_row_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert hierarchy.main(["--items", "300", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["items"], row["clusters"]) == (300, 69)
    assert row["flat_step"] > 0
    assert row["step_times_cheaper"] == pytest.approx(row["flat_step"] / row["step"], abs=0.06)
    assert all(row[f"top_{known}"] > 0 for known in hierarchy.KNOWN)


def test_what_is_known_is_what_was_asked_for() -> None:
    table = hierarchy._table(hierarchy._items(300), sparse=False)
    q = hierarchy._drawn_out(table.items[5, :-1].numpy(), table, 30)
    said = hierarchy.log_p(q[None], table)[0].double()
    assert float((-said.exp() * said).sum().exp()) == pytest.approx(30, rel=0.02)
