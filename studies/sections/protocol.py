"""What was done: the settings, what wrote the texts, who came, how long it took, and what they answered."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import mean, median
from typing import Any

from engine.methods import ARMS, settings_of
from engine.methods.base import Method
from studies.figures import NONE, Cell, fold, table
from studies.records import Side, Written
from studies.schedule import HUMAN, SALAD
from studies.sections.page import Page, Section, many, title_of

SAMPLER = ("temperature", "top_p", "top_k", "repetition_penalty", "max_new_tokens")
MAX_STATES = 5  # of an arm that are listed; all are in the export
OPENED = "opened"  # the event that tells versions and hardware, as a JSON object
SURVEY = "survey:"  # before the id of a question that was asked at the end; older answers have the id alone
OWN = ("consent", "instructions", "likes", "survey")  # answers that a page keeps for itself


def protocol(page: Page) -> Section:
    study = page.records.study
    if study is None:
        told = (
            "There was no study: one person judged pairs as they came, from a schedule that is balanced in arms and "
            f"sides and begins anew when an arm comes or goes. Resampling on this page has the seed {page.seed}."
        )
        return Section("protocol", "Protocol", told, _arms(page))
    told = (
        "The exact protocol: with the design and a slot number anybody can compute what that rater was to see, in "
        f"which order and on which sides (studies/schedule.py). Resampling on this page has the seed {page.seed}."
    )
    rows = [("study id", study.id), ("opened", study.opened), *_flat(study.settings)]
    return Section("protocol", "Protocol", told, table("Settings", ("setting", "value"), rows) + _arms(page))


def _arms(page: Page) -> str:
    """By which names arms stand on this page."""
    rows = [(code, title_of(arm), arm) for arm, code in page.codes.items()]
    return table("Arms", ("number", "what it is", "arm"), rows) if rows else ""


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings as rows, nested ones with dots in their names."""
    rows = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{before}{key}.")
        else:
            told = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            rows.append((before + key, told or NONE))
    return rows


# ---- what wrote the texts


def writers(page: Page) -> Section | None:
    """None where no arm is known."""
    if not page.codes:
        return None
    told = (
        "What wrote the texts that were shown, practice and catch trials left out, each text counted once. All arms "
        "share the request and the sampler; a way of writing only adds what stands in its row. Seconds are those of "
        "the batch that a text was written in, with texts of other arms in it."
    )
    shown = [trial for trial in page.records.written if trial.shown and trial.purpose in ("main", "repeat")]
    texts = {side.id: side for trial in shown for side in trial.sides if side.arm not in (HUMAN, SALAD)}
    body = _ways(page, list(texts.values())) + _engines(page, list(texts.values()))
    body += _requests([trial for trial in shown if any(side.id in texts for side in trial.sides)])
    body += _versions(page)
    return Section("texts", "What wrote the texts", told, body)


def _ways(page: Page, texts: Sequence[Side]) -> str:
    rows = []
    for arm in page.codes:
        mine = [side for side in texts if side.arm == arm]
        states = list(dict.fromkeys(side.state for side in mine if side.state))
        listed = "\n".join(states[:MAX_STATES])
        if len(states) > MAX_STATES:
            listed += f"\nand {len(states) - MAX_STATES} more, in the export"
        rows.append(
            (
                page.arm(arm),
                listed or NONE,
                len(mine),
                f"{mean(side.tokens for side in mine):.1f}" if mine else NONE,
                f"{mean(side.seconds for side in mine):.2f}" if mine else NONE,
            )
        )
    head = ("arm", "learned state", "texts", "mean tokens", "mean seconds")
    return _methods(page) + table("Their texts", head, rows)


def _methods(page: Page) -> str:
    """What arms of this version are set to, and the paper that each follows."""
    known = [(arm, method) for arm in page.codes if (method := ARMS.get(arm.partition("@")[0]))]
    rows = [(page.arm(arm), ", ".join(_settings(method)) or NONE, method.paper) for arm, method in known]
    return table("Ways of writing", ("arm", "settings", "source"), rows) if rows else ""


def _settings(method: Method, before: str = "") -> Iterator[str]:
    """Every setting of a method; of one that it wraps, with its name and a dot before."""
    for name, value in settings_of(method).items():
        yield f"{before}{name} = {value}"
        inner = getattr(method, name)
        if isinstance(inner, Method):
            yield from _settings(inner, f"{before}{name}.")


def _engines(page: Page, texts: Sequence[Side]) -> str:
    by = Counter(side.engine for side in texts)
    arms = {engine: {side.arm for side in texts if side.engine == engine} for engine in by}
    rows = [
        (engine or NONE, ", ".join(code for arm, code in page.codes.items() if arm in arms[engine]), count)
        for engine, count in by.most_common()
    ]
    return table("Models, by fingerprint", ("model and its arithmetic", "arms", "texts"), rows) if rows else ""


def _requests(shown: Sequence[Written]) -> str:
    """The sampler, and the request word for word."""
    if not shown:
        return ""
    samplers = Counter(tuple(getattr(trial.ask, name) for name in SAMPLER) for trial in shown)
    rows: list[Sequence[Cell]] = [(*map(str, sampler), count) for sampler, count in samplers.items()]
    first = {trial.ask.kind: trial.ask for trial in reversed(shown)}
    topics = {kind: len({trial.ask.payload for trial in shown if trial.ask.kind == kind}) for kind in first}
    asked = [(kind, ask.instruction(), ask.payload, topics[kind]) for kind, ask in first.items()]
    return table("Sampler", (*SAMPLER, "trials"), rows) + table(
        "Request, for one topic", ("kind", "in words", "topic here", "topics in all"), asked
    )


def _versions(page: Page) -> str:
    """Every setting in which the study was opened, once; "" where none was logged."""
    opened: dict[tuple[tuple[str, str], ...], str] = {}
    for event in page.records.events:
        if event.kind == OPENED:
            opened.setdefault(tuple((key, str(value)) for key, value in json.loads(event.told).items()), event.at)
    names = list(dict.fromkeys(key for told in opened for key, _ in told))
    rows = [(at, *(dict(told).get(name, NONE) for name in names)) for told, at in opened.items()]
    return table("Versions and hardware, each as it was first met", ("opened", *names), rows) if rows else ""


# ---- who came


def people(page: Page) -> Section:
    records = page.records
    judged = [rater.votes for rater in records.raters if rater.votes]
    ends = Counter(rater.completion or "without a word" for rater in records.raters if rater.ended)
    alone, paired = bool(records.kinds & {"card", "mark"}), "pair" in records.kinds
    skipped = sum(ballot.choice == "skip" for ballot in records.ballots)
    skipped_alone = sum(mark.choice == "skip" for mark in records.marks)
    rows: list[tuple[str, Cell]] = [
        ("raters who came", len(records.raters)),
        ("raters with a counted vote", len(judged)),
        *((f"raters who ended: {how}", n) for how, n in sorted(ends.items())),
        ("slots that became free again", sum(bool(rater.left) for rater in records.raters)),
        ("counted votes a rater: least, median, most", _span(judged)),
        ("trials written, practice left out", records.trials),
    ]
    if paired:
        rows += [("counted votes on pairs", len(records.ballots)), ("of these skipped", skipped)]
    if alone:
        rows += [("counted verdicts on single texts", len(records.marks)), ("of those skipped", skipped_alone)]
    rows += [
        ("counted votes on repeats", len(records.repeats) + len(records.mark_repeats)),
        ("counted votes on catch trials", len(records.catches)),
        ("votes that were withdrawn", records.undone),
    ]
    told = (
        "Who came and what they gave. Votes are counted that stand on a trial which is not void; practice never is. "
        "Those on pairs and single texts are of main trials, which the results are of; those of a rater are of all."
    )
    skips = Counter(trial.rater for trial in records.written if trial.counted and trial.choice == "skip")
    void = Counter(trial.rater for trial in records.written if trial.void and trial.choice)
    head = ("rater", "joined", "ended", "how", "slot free", "counted votes", "of these skipped", "void votes")
    each = [
        (
            page.rater(r.id),
            r.joined,
            *(r.ended or NONE, r.completion or NONE, r.left or NONE),
            *(r.votes, skips[r.id], void[r.id]),
        )
        for r in records.raters
    ]
    body = table("In all", ("what", "how many"), rows) + fold(table("Each rater", head, each) if each else "")
    return Section("people", "Raters and votes", told, body)


def _span(counts: Sequence[int]) -> str:
    return f"{min(counts)}, {median(counts):g}, {max(counts)}" if counts else NONE


def times(page: Page) -> Section:
    told = (
        "How long raters were there, from joining to the end, and for how long texts were in view before a counted "
        "main vote, as their pages measured it. By arm as well, of all trials that it stood in: longer texts are read "
        "longer."
    )
    stays: defaultdict[str, list[float]] = defaultdict(list)
    for rater in page.records.raters:
        if rater.ended:
            taken = datetime.fromisoformat(rater.ended) - datetime.fromisoformat(rater.joined)
            stays[rater.completion or "without a word"].append(taken.total_seconds() / 60)
    main = [t for t in page.records.written if t.counted and t.purpose == "main" and t.viewed is not None]
    views: dict[str, list[float]] = {
        f"all of kind {kind}": _seconds(main, kind=kind) for kind in ("pair", "card", "mark")
    }
    views |= {page.arm(arm): _seconds(main, arm=arm) for arm in page.codes}
    body = _durations("From joining to the end, in minutes", "who ended", stays)
    body += _durations("In view before a vote, in seconds", "votes", views)
    return Section("times", "How long it took", told, body, "raters who ended, and votes whose time was measured")


def _seconds(trials: Sequence[Written], *, kind: str = "", arm: str = "") -> list[float]:
    return [
        t.viewed / 1e3
        for t in trials
        if t.viewed is not None and kind in ("", t.kind) and (not arm or arm in [side.arm for side in t.sides])
    ]


def _durations(caption: str, of: str, taken: Mapping[str, Sequence[float]]) -> str:
    rows = [
        (name, len(some), f"{median(some):.1f}", f"{min(some):.1f}", f"{max(some):.1f}")
        for name, some in taken.items()
        if some
    ]
    return table(caption, (of, "how many", "median", "least", "most"), rows) if rows else ""


# ---- what they answered


def survey(page: Page) -> Section | None:
    """None where nothing is asked at the end."""
    asked = page.records.study.settings.get("survey", ()) if page.records.study else ()
    if not asked:
        return None
    told = "What raters answered at the end. Where they wrote freely the texts are in the export."
    said: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for answer in page.records.answers:
        known = answer.question.startswith(SURVEY)
        if known or answer.question not in OWN:
            said[answer.question.removeprefix(SURVEY)][answer.rater] = answer.value
    body = ""
    for question in asked:
        given = Counter(said[question["id"]].values())
        options = question.get("options", ())
        rows = [(option, given[option]) for option in options]
        # a file that was changed in mid-study may have had other options before
        rows += [(one, count) for one, count in given.items() if one and options and one not in options]
        if not options:
            rows = [("wrote something", sum(count for one, count in given.items() if one))]
        body += table(
            f"{question['text']} ({question['id']})", ("answer", "raters"), [*rows, ("left empty", given[""])]
        )
    return Section("survey", "Survey", f"{told} {many(len(page.records.raters), 'rater')} came.", body)
