"""What a person showed so far, kept in memory and read on from where it was: a vote costs one row, not all of them."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime

from collectors.item import Item, Signal
from studies.database import Database, Row

Reaction = tuple[Item, Signal]
BATCH = 1_000
_VOTED = "select number, item_id, sign, at from taught where rater = :rater and number > :after order by number"


class Reactions:
    """Reactions per rater, oldest first, one an item: imports by date, then cards as they were voted.

    Only cards teach: a vote on a pair is counted and never becomes a signal. Two calls between which only votes on new
    cards came give tuples of which one begins with the very objects of the other.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self._known: dict[str, tuple[Row, tuple[Reaction, ...]]] = {}
        self._reading = threading.Lock()

    def of(self, rater: str) -> tuple[Reaction, ...]:
        with self._reading:
            before, known = self._known.get(rater, ({}, ()))
            state = self.db.rows(
                """select coalesce((select max(number) from chunk where rater = :rater), 0) as imported,
                (select count(*) from undo) as undone,
                coalesce((select max(number) from remark where rater = :rater), 0) as remarked,
                coalesce((select max(number) from vote), 0) as voted""",
                rater=rater,
            )[0]
            if state != before:
                on = None
                if before and {**before, "voted": 0} == {**state, "voted": 0}:
                    on = self._after(rater, known, before["voted"])
                self._known[rater] = (state, known + on if on is not None else self._all(rater))
            return self._known[rater][1]

    def forget(self) -> None:
        """Read all anew: everything was deleted."""
        with self._reading:
            self._known.clear()

    def _after(self, rater: str, known: Sequence[Reaction], vote: int) -> tuple[Reaction, ...] | None:
        """The reactions since a vote; None where one is to an item that stands further up and would move."""
        rows = self.db.rows(_VOTED, rater=rater, after=vote)
        ids = {row["item_id"] for row in rows}
        if len(ids) < len(rows) or any(item.id in ids for item, _ in known):
            return None
        items = self.items(ids)
        return tuple((items[row["item_id"]], _card(row)) for row in rows)

    def _all(self, rater: str) -> tuple[Reaction, ...]:
        imported = self.db.rows(
            "select item_id, sign, strength, at, origin, note, picked from signal where rater = :rater order by rowid",
            rater=rater,
        )
        said: dict[str, Row] = {}
        for row in imported:
            # of several lists that hold an item a like or dislike outranks having met it, then the latest counts
            other = said.get(row["item_id"])
            if not other or (row["sign"] != 0, row["at"] or "") >= (other["sign"] != 0, other["at"] or ""):
                said[row["item_id"]] = row
        latest = {i: _signal(row) for i, row in sorted(said.items(), key=lambda pair: pair[1]["at"] or "")}
        for row in self.db.rows(_VOTED, rater=rater, after=0):
            latest.pop(row["item_id"], None)  # a card outranks an import of the same item, and stands where cards stand
            latest[row["item_id"]] = _card(row)
        for row in self.db.rows(
            "select item_id, note, picked from remark where rater = :rater order by number", rater=rater
        ):
            if signal := latest.get(row["item_id"]):
                latest[row["item_id"]] = replace(signal, note=row["note"], picked=bool(row["picked"]))
        items = self.items(latest)
        return tuple((items[i], signal) for i, signal in latest.items())

    def items(self, ids: Iterable[str]) -> dict[str, Item]:
        """The items with these ids, of those that are known."""
        found: dict[str, Item] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), BATCH):
            batch = {f"id{n}": value for n, value in enumerate(wanted[start : start + BATCH])}
            rows = self.db.rows(f"select * from item where id in ({', '.join(f':{name}' for name in batch)})", **batch)
            found |= {row["id"]: as_item(row) for row in rows}
        return found


def as_item(row: Row) -> Item:
    facts = {name: row[name] for name in _FIELDS}
    created = datetime.fromisoformat(row["created_at"]) if row["created_at"] else None
    return Item(**facts | {"created_at": created, "stand_in": bool(row["stand_in"])})


def _signal(row: Row) -> Signal:
    at = datetime.fromisoformat(row["at"]) if row["at"] else None
    return Signal(row["item_id"], row["sign"], row["strength"], at, row["origin"], row["note"], bool(row["picked"]))


def _card(row: Row) -> Signal:
    return Signal(row["item_id"], row["sign"], 1.0, datetime.fromisoformat(row["at"]), "feed")


_FIELDS = [field.name for field in fields(Item)]
