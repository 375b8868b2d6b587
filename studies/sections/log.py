"""What went wrong or was left out: trials that do not count, positions that were given up, and events."""

import json
from collections import Counter
from collections.abc import Sequence

from studies.figures import NONE, Cell, fold, table, whole
from studies.records import Written
from studies.sections.page import Page, Section
from studies.store import CHOICES

MAX_EVENTS = 200  # that are listed; all are counted, and all are in the export


def voids(page: Page) -> Section:
    told = (
        "Trials that do not count, by reason, of all that were written: most are texts that nobody was shown because "
        "they would tell how they were made or leave nothing to choose; another attempt takes their place. By arm and "
        "by the side that it stood on as well, as an arm that loses more of its texts to a rule than others is judged "
        "by a choice of them; and of votes that do not count, what was chosen."
    )
    records = page.records
    rows = [(why, count, whole(count / records.trials)) for why, count in records.voids.items()]
    body = table("Void trials", ("reason", "trials", "of all"), rows) if rows else ""
    body += _by_arm(page) + _by_choice(page) + _given_up(page)
    return Section("voids", "Void trials", told, body, "void trials; all that were written count")


def _by_arm(page: Page) -> str:
    """By arm and reason, of main trials: the results are of those."""
    main = [trial for trial in page.records.written if trial.purpose == "main"]
    rows = []
    for arm in page.codes:
        mine = [trial for trial in main if arm in _arms(trial)]
        for why, count in Counter(trial.void for trial in mine if trial.void).most_common():
            void = [trial for trial in mine if trial.void == why]
            left = sum(trial.kind == "pair" and _arms(trial)[0] == arm for trial in void)
            right = sum(trial.kind == "pair" and _arms(trial)[-1] == arm for trial in void)
            shares = (len(mine), whole(count / len(mine)))
            rows.append((page.arm(arm), why, count, left, right, count - left - right, *shares))
    head = ("arm", "reason", "trials", "it was left", "right", "alone", "of its trials", "share")
    return table("Void main trials by arm", head, rows) if rows else ""


def _by_choice(page: Page) -> str:
    """By reason, what was chosen in votes that do not count; practice is not among them."""
    given = [trial for trial in page.records.written if trial.void and trial.choice]
    known = dict.fromkeys(choice for choices in CHOICES.values() for choice in choices)
    there = [choice for choice in known if any(trial.choice == choice for trial in given)]
    rows: list[Sequence[Cell]] = [
        (why, *(sum(trial.choice == choice and trial.void == why for trial in given) for choice in there))
        for why in dict.fromkeys(trial.void for trial in given)
    ]
    return table("Votes that do not count, by what was chosen", ("reason", *there), rows) if rows else ""


def _given_up(page: Page) -> str:
    """Positions for which no text was left, by their arms."""
    told = [json.loads(event.told) for event in page.records.events if event.kind == "given up"]
    lost = Counter(tuple(sorted(arm for arm in said.get("arms", ()) if arm)) for said in told)
    rows = [(" and ".join(map(page.arm, arms)) or NONE, count) for arms, count in lost.most_common()]
    return table("Positions given up, as no text was left", ("arms", "positions"), rows) if rows else ""


def _arms(trial: Written) -> list[str]:
    return [side.arm for side in trial.sides]


def events(page: Page) -> Section | None:
    """None in play, where nothing is logged."""
    if page.records.study is None:
        return None
    records = page.records
    told = "What happened while the study ran, apart from votes."
    rows = list(records.event_counts.items())
    listed = [(event.at, event.kind, page.rater(event.rater), _told(event.told)) for event in records.events]
    more = len(listed) - MAX_EVENTS
    caption = f"Each event, {more} more in the export" if more > 0 else "Each event"
    body = table("Events", ("event", "how often"), rows) if rows else ""
    body += fold(table(caption, ("at", "event", "rater", "told"), listed[:MAX_EVENTS])) if listed else ""
    return Section("events", "Events", told, body, "events; nothing was logged")


def _told(told: str) -> str:
    """What an event says beside its kind, as words where it is a JSON object."""
    try:
        said = json.loads(told)
    except ValueError:
        return told
    return ", ".join(f"{key}: {value}" for key, value in said.items()) if isinstance(said, dict) else told
