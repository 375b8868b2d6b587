"""Sentences of a summary that the person calls wrong: they go at once, and what says the same again is left out."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from engine.summary import sentences as sentences
from studies.database import Row
from studies.store import LOCAL, Refused, Store

SAME = 0.85  # cosine from which on a sentence says again what was called wrong
MOST = 50  # sentences that are kept as wrong; the latest stand

Encode = Callable[[Sequence[str]], NDArray[Any]]


def wrong_in(summary: Row | None) -> list[str]:
    """What was called wrong so far: each version of the summary carries it on."""
    told: list[str] = json.loads((summary and summary["taste"]) or "{}").get("wrong", [])
    return told


def without(text: str, wrong: Sequence[str], encode: Encode) -> str:
    """The text without sentences that say what was called wrong."""
    there = sentences(text)
    if not wrong or not there:
        return text
    near = (encode(there) @ encode(list(wrong)).T).max(axis=1)  # (sentences,), cosines
    return " ".join(one for one, cosine in zip(there, near, strict=True) if cosine < SAME)


def carried(taste: dict[str, Any], wrong: Sequence[str]) -> str | None:
    """What is kept beside a summary, as JSON: its parts where there are any, and what was called wrong."""
    told = taste | ({"wrong": list(wrong)} if wrong else {})
    return json.dumps({"topics": []} | told, ensure_ascii=False) if told else None


def call_wrong(store: Store, rater: str, sentence: str) -> None:
    """Keep that a sentence of the latest summary is wrong, and the summary without it. Raises Refused where no such
    sentence stands there any more."""
    newest = store.latest_summary(rater)
    there = sentences(newest["text"]) if newest else []
    if newest is None or sentence not in there:
        raise Refused("the summary has changed meanwhile: open the page again")
    taste: dict[str, Any] = json.loads(newest["taste"] or "{}")
    store.save_summary(
        rater,
        " ".join(one for one in there if one != sentence),
        newest["profile_digest"],
        newest["reactions"],
        newest["engine"],
        newest["author"] or LOCAL,
        carried(taste, [*wrong_in(newest), sentence][-MOST:]),
    )
