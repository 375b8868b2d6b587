"""A study, or play, as one HTML page for a referee: no script, no network, and a table beside every plot.

What comes from the store is escaped where it is put on the page, by `figures` and `report`; raters are numbered as they
came and never named.
"""

import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np

from engine.methods import ARMS
from studies.agreement import Interval, agree, agree_alone, between_people, repeatability
from studies.detect import detection, recognisability
from studies.effects import heterogeneity, side_bias, styled
from studies.figures import NONE, Bar, Cell, fold, forest, lines, table, whole
from studies.pairs import title
from studies.ratings import RESAMPLES, Ballot, Rate, mark_rates, numbers, rates, share, standings
from studies.records import Records
from studies.schedule import HUMAN
from studies.sequential import ENOUGH, evidence

COVERAGE = {10: 0.957, 20: 0.950, 40: 0.951, 80: 0.950}  # of standings by number of raters: python -m studies simulate
FEW = 20  # raters, under which a reader may doubt an interval that is drawn from them
MARGIN = 0.1  # a share of wins that is within this of one half is as good as one half
MAX_TEXTS = 200  # of each arm that the classifier reads, drawn by the seed: it takes minutes over thousands
MAX_EVENTS = 200  # that are listed; all are counted, and all are in the export
WHOLE = (
    f"Intervals are 95 %: raters are drawn {RESAMPLES} times with all that they said, because votes of one person hang "
    "together, and the spread of the draws meets Student's t for so many raters. Of one rater they are that rater's."
)
BOUNDS = "Intervals are 95 %, from drawing raters anew with all that they said, as in the standings."


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: what it is in a sentence or two, and its figures as HTML; without any, what it `lacks`."""

    anchor: str
    head: str
    told: str
    body: str
    lacks: str = "counted pair votes"


def report(records: Records, *, seed: int = 0) -> str:
    """The page as text. `seed` is that of the resampling: the same records and seed, the same page."""
    sections = [make(records, seed) for make in SECTIONS]
    name = records.study.title if records.study else "Votes outside of studies"
    contents = "".join(f'<li><a href="#{part.anchor}">{escape(part.head)}</a></li>' for part in sections)
    main = "".join(
        f'<section id="{part.anchor}"><h2>{escape(part.head)}</h2><p>{escape(part.told)}</p>'
        f"{part.body or f'<p class=none>Missing: {escape(part.lacks)}.</p>'}</section>"
        for part in sections
    )
    return PAGE.format(title=escape(name), lead=escape(_lead(records)), contents=contents, main=main)


# ---- what was done


def _lead(records: Records) -> str:
    votes = sum(rater.votes for rater in records.raters)
    told = f"{_many(votes, 'counted vote')} by {_many(sum(rater.votes > 0 for rater in records.raters), 'rater')}."
    if not votes and records.others:
        told += f" This folder holds other votes as well: name a study after --study ({', '.join(records.others)})"
        told += ", or none for play." if records.study else "."
    return told


def _protocol(records: Records, seed: int) -> Section:
    told = (
        "The exact protocol: with the design and a slot number anybody can compute what that rater was to see, in "
        f"which order and on which sides (studies/schedule.py). Resampling on this page has the seed {seed}."
    )
    if records.study is None:
        arms = sorted({arm for ballot in records.ballots for arm in (ballot.left, ballot.right)})
        told = (
            "There was no study: one person judged pairs as they came, from a schedule that is balanced in arms and "
            f"sides and begins anew when an arm comes or goes. Resampling on this page has the seed {seed}."
        )
        return Section("protocol", "Protocol", told, _arms(arms) if arms else "")
    rows = [("study id", records.study.id), ("opened", records.study.opened), *_flat(records.study.public)]
    arms = [str(arm) for arm in records.study.settings.get("design", {}).get("arms", ())]
    return Section("protocol", "Protocol", told, table("Settings", ("setting", "value"), rows) + _arms(arms))


def _arms(arms: Sequence[str]) -> str:
    return table("Arms", ("arm", "what it is"), [(arm, _title(arm)) for arm in arms])


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


def _people(records: Records, seed: int) -> Section:
    judged = [rater.votes for rater in records.raters if rater.votes]
    ends = Counter(rater.completion or "without a word" for rater in records.raters if rater.ended)
    rows: list[tuple[str, Cell]] = [
        ("raters who came", len(records.raters)),
        ("raters with a counted vote", len(judged)),
        *((f"raters who ended: {how}", n) for how, n in sorted(ends.items())),
        ("slots that became free again", sum(bool(rater.left) for rater in records.raters)),
        ("counted votes a rater: least, median, most", _span(judged)),
        ("trials written, practice left out", records.trials),
        ("counted votes on pairs", len(records.ballots)),
        ("of these skipped", sum(ballot.choice == "skip" for ballot in records.ballots)),
        ("counted verdicts on single texts", len(records.marks)),
        ("votes that were withdrawn", records.undone),
    ]
    told = "Who came and what they gave. Votes are counted that stand on a trial which is not void; practice never is."
    head = ("rater", "joined", "ended", "how", "slot free", "counted votes")
    each = [
        (_rater(n), r.joined, r.ended or NONE, r.completion or NONE, r.left or NONE, r.votes)
        for n, r in enumerate(records.raters, 1)
    ]
    body = table("In all", ("what", "how many"), rows) + fold(table("Each rater", head, each) if each else "")
    return Section("people", "Raters and votes", told, body)


# ---- what came of it


def _standings(records: Records, seed: int) -> Section:
    told = (
        "Bradley-Terry strength of each arm in log-odds against the average arm: 0 is average, +0.7 wins about two of "
        f"three; both and neither count half a win for each side, skipped pairs not at all. {WHOLE}"
    )
    told += _coverage(sum(rater.votes > 0 for rater in records.raters))
    rows = standings(records.ballots, seed=seed)
    bars = [(_title(row.arm), row.strength, row.low, row.high) for row in rows]
    cells = [
        (_title(r.arm), f"{r.strength:+.2f}", f"{r.low:+.2f} to {r.high:+.2f}", r.wins, r.losses, r.ties) for r in rows
    ]
    head = ("arm", "strength", "95 % interval", "won", "lost", "tied")
    body = forest("Strength, log-odds against the average arm", bars, 0.0) + table("Standings", head, cells)
    return Section("standings", "Standings", told, body if rows else "")


def _coverage(raters: int) -> str:
    """What is known of intervals from so few raters, "" where they are not few."""
    if raters >= FEW:
        return ""
    nearest = min(COVERAGE, key=lambda n: abs(n - raters))
    return f" In simulated studies of {nearest} raters they held the truth {COVERAGE[nearest]:.1%} of the time."


def _rates(records: Records, seed: int) -> Section:
    told = (
        "How often each arm's text of a pair was liked (chosen, or both), disliked (neither) and marked as sounding "
        f"like AI, of the pairs that were not skipped. {BOUNDS}"
    )
    return Section("rates", "Rates in pairs", told, _of_rates(rates(records.ballots, seed=seed)))


def _marks(records: Records, seed: int) -> Section:
    told = (
        "The same of texts that were shown alone: liked is like, funny, 4 or 5; disliked is dislike, not funny, 1 or "
        f"2; a 3 is neither. {BOUNDS}"
    )
    body = _of_rates(mark_rates(records.marks, seed=seed))
    return Section("marks", "Rates of single texts", told, body, "counted verdicts on single texts")


def _of_rates(rows: Sequence[Rate]) -> str:
    body = ""
    for kind, name in (("like", "Liked"), ("dislike", "Disliked"), ("sounds_ai", "Sounds like AI")):
        bars = [(_title(r.arm), r.value, r.low, r.high) for r in rows if r.kind == kind]
        body += forest(name, bars, None, (0.0, 1.0)) if bars else ""
    by_arm: defaultdict[str, dict[str, Rate]] = defaultdict(dict)
    for row in rows:
        by_arm[row.arm][row.kind] = row
    cells = [
        [_title(arm), *(_percent(r.value, r.low, r.high) for r in kinds.values()), str(kinds["like"].n)]
        for arm, kinds in by_arm.items()
    ]
    return body + table("Rates", ("arm", "liked", "disliked", "sounds like AI", "texts judged"), cells) if rows else ""


def _matrix(records: Records, seed: int) -> Section:
    told = "Won-lost-tied of the arm in the row against the arm in the column; plain counts, no interval."
    met: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for b in _played(records.ballots):
        met[b.left, b.right][{"left": "won", "right": "lost"}.get(b.choice, "tied")] += 1
        met[b.right, b.left][{"left": "lost", "right": "won"}.get(b.choice, "tied")] += 1
    arms = sorted({arm for pair in met for arm in pair})
    cells = [
        (_title(a), *(f"{n['won']}-{n['lost']}-{n['tied']}" if (n := met.get((a, b))) else NONE for b in arms))
        for a in arms
    ]
    body = table("Head to head", ("arm", *map(_title, arms)), cells) if arms else ""
    return Section("matrix", "Head to head", told, body)


def _sequential(records: Records, seed: int) -> Section:
    told = (
        "For each two arms, evidence for a difference that may be looked at after every vote: an e-value ever reaches "
        f"{ENOUGH:.0f} in at most one of twenty comparisons of equal arms, which is what the verdict enough says. Of "
        "decided votes alone, those of one rater taken as alike, so that one rater never suffices; the interval of the "
        f"share holds at all looks together. No difference is a share within {MARGIN:g} of one half. Pairs are taken "
        "one by one: of many equal ones some reach the line by chance."
    )
    met = Counter(frozenset((b.left, b.right)) for b in records.ballots if b.choice in ("left", "right"))
    cells: list[Sequence[Cell]] = []
    curves: list[tuple[str, Sequence[float]]] = []
    for a, b in combinations(sorted({arm for pair in met for arm in pair}), 2):
        if not met[frozenset((a, b))]:
            continue
        found = evidence(records.ballots, a, b, MARGIN)
        name = f"{_title(a)} against {_title(b)}"
        curves.append((str(len(curves) + 1), found.e_values))
        decided = found.wins + found.losses
        bounds = _percent(found.wins / decided, found.low, found.high) if decided else NONE
        now, most = (f"{found.e_values[-1]:.3g}", f"{max(found.e_values):.3g}") if decided else (NONE, NONE)
        cells.append((f"{len(curves)}. {name}", f"{found.wins}-{found.losses}", bounds, now, most, found.verdict))
    head = ("pair", "won-lost", "share of the first, interval", "e-value now", "highest", "verdict")
    body = lines(
        f"E-value after each decided vote, the pairs by number; the dashed line is {ENOUGH:.0f}", curves, ENOUGH
    )
    body += table("Each pair", head, cells)
    return Section("sequential", "Evidence so far", told, body if cells else "", "decided votes between two arms")


# ---- how far it can be trusted


def _agreement(records: Records, seed: int) -> Section:
    told = (
        "How often raters said the same of a trial that came again later, a pair with its sides swapped: nobody can "
        "predict their choices better than they do. Kappa takes chance off, and so does Krippendorff's alpha, of "
        f"raters who judged the same two texts. {BOUNDS}"
    )
    pairs = repeatability(records.ballots, records.repeats, seed=seed)
    rows = [
        _of_interval("pairs: the same of left, right and tie", pairs.same),
        _of_interval("pairs: the same text, where both times one was chosen", pairs.decided),
        _of_interval("pairs: kappa", pairs.kappa, plain=True),
    ]
    first = {mark.trial: mark.choice for mark in records.marks}
    again = [(mark.rater, mark.choice == first[mark.repeats]) for mark in records.mark_repeats if mark.repeats in first]
    rows.append(_of_share("single texts: the same verdict", again, seed))
    items: dict[str, list[Ballot]] = defaultdict(list)
    for ballot in records.ballots:
        items["\n\n".join(sorted((ballot.left_text, ballot.right_text)))].append(ballot)
    rows.append(
        _of_interval("between raters on the same pairs: Krippendorff's alpha", between_people(items), plain=True)
    )
    there = [row for row in rows if row]
    head = ("what", "how often", "verdicts")
    body = table("Raters beside themselves and each other", head, there) if there else ""
    return Section("agreement", "Agreement of raters", told, body, "counted votes on trials that were shown again")


def _judges(records: Records, seed: int) -> Section:
    told = (
        "Language models asked about the same blind pairs in both orders; a verdict that does not survive the swap is "
        "a tie. Accuracy is over pairs that both decided, kappa over left, right and tie, rank is Spearman's between "
        "the arms' strengths by people and by the judge, AUC of its log-odds for what people chose. People's own "
        f"agreement with themselves stands above: nobody can do better. {BOUNDS}"
    )
    rows: list[tuple[Cell, ...]] = []
    for name, verdicts in records.judges.items():
        choices = {trial: choice for trial, (choice, _) in verdicts.items()}
        scores = {trial: score for trial, (_, score) in verdicts.items()}
        found = agree(records.ballots, choices, scores, seed=seed)
        judged = [choices[ballot.trial] for ballot in records.ballots if ballot.trial in choices]
        if one := agree_alone(records.marks, scores, seed=seed):
            rows.append((f"{name}, single texts", one.n, NONE, NONE, NONE, NONE, _with_bounds(one)))
        if judged:
            ties = f"{sum(choice == 'tie' for choice in judged) / len(judged):.0%}"
            parts = (found.accuracy, found.kappa, found.rank, found.auc)
            rows.append((name, len(judged), ties, *map(_with_bounds, parts)))
    head = ("judge", "trials", "ties", "accuracy", "kappa", "rank", "AUC")
    body = table("Judges beside people", head, rows) if rows else ""
    return Section("judges", "LLM judges", told, body, "verdicts: run python -m studies judge")


def _detection(records: Records, seed: int) -> Section:
    told = (
        "Whether people can tell that a machine wrote it: how often each arm was marked as sounding like AI, and how "
        "far that sets it apart from posts by people (d', 0 for not at all, a mean over raters with Student's "
        f"interval). The bias is above 0 where raters seldom mark anything. {BOUNDS}"
    )
    rows = detection(records.ballots, records.marks, seed=seed)
    cells = [
        (
            _title(row.arm),
            _percent(row.rate.value, row.rate.low, row.rate.high),
            _with_bounds(row.d_prime),
            NONE if row.bias is None else _signed(row.bias),
            row.rate.n,
        )
        for row in rows
    ]
    bars = [(_title(row.arm), row.rate.value, row.rate.low, row.rate.high) for row in rows]
    body = forest("Marked as sounding like AI, in pairs and alone", bars, None, (0.0, 1.0))
    body += table("Detection", ("arm", "marked", "d'", "bias", "texts judged"), cells)
    if records.detectors:
        head = ("arm", "by", "AUC", "texts")
        by = [(_title(row.arm), row.name, _with_bounds(row.auc), row.auc.n) for row in records.detectors]
        body += table("Automatic detectors: texts of the arm above posts by people", head, by)
    return Section("detection", "Detection", told, body if cells else "", "counted votes that were not skipped")


def _recognisability(records: Records, seed: int) -> Section:
    told = (
        "How often a simple classifier names the arm of a text whose topic it has not seen: near chance, no rater can "
        f"know arms by their style and vote for a favourite. It reads at most {MAX_TEXTS} texts of each. The interval "
        "draws topics. Of each two arms, how often it puts the right one first; one half is chance."
    )
    lacks = "at least two arms with texts about several topics"
    texts, topics = _texts(records, seed)
    if len(texts) < 2:
        return Section("recognisability", "Recognisability", told, "", lacks)
    try:
        found = recognisability(texts, topics, seed=seed)
    except ValueError:  # too few to learn from some and be asked about others
        return Section("recognisability", "Recognisability", told, "", lacks)
    all_of = ("all arms at once", _percent(found.accuracy.value, found.accuracy.low, found.accuracy.high))
    rows = [(*all_of, whole(found.chance))]
    rows += [(f"{_title(a)} and {_title(b)}", whole(auc), whole(0.5)) for (a, b), auc in found.pairs.items()]
    body = table("Arms told by their texts", ("which", "right", "chance"), rows)
    return Section("recognisability", "Recognisability", told, body)


def _texts(records: Records, seed: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Texts that were judged, by arm and each once, and beside them their topics; of arms with two topics or more."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for b in records.ballots:
        for arm, text in ((b.left, b.left_text), (b.right, b.right_text)):
            found[arm].setdefault(text, records.topics[b.trial])
    for mark in records.marks:
        found[mark.arm].setdefault(mark.text, records.topics[mark.trial])
    rng = random.Random(seed)
    kept = {
        arm: rng.sample(list(texts.items()), min(len(texts), MAX_TEXTS))
        for arm, texts in sorted(found.items())
        if len(set(texts.values())) > 1
    }
    return {a: [text for text, _ in t] for a, t in kept.items()}, {
        a: [topic for _, topic in t] for a, t in kept.items()
    }


def _heterogeneity(records: Records, seed: int) -> Section:
    told = (
        "How far raters differ in which arms they like, as the standard deviation of an arm's strength between them, "
        "and each rater's strength of each arm, drawn towards everybody's by as much as their few votes leave open "
        "(empirical Bayes; 95 % intervals of the posterior, which leave out what is unsure of the spread itself)."
    )
    found = heterogeneity(records.ballots)
    if not found.raters:
        lacks = "counted pair votes of at least two raters"
        return Section("heterogeneity", "Differences between raters", told, "", lacks)
    number = {rater.id: n for n, rater in enumerate(records.raters, 1)}
    rows = sorted(found.raters, key=lambda row: (row.arm, number.get(row.rater, 0)))
    cells = [
        (_title(r.arm), _rater(number.get(r.rater, 0)), f"{r.strength:+.2f}", f"{r.low:+.2f} to {r.high:+.2f}")
        for r in rows
    ]
    dots = [(_title(r.arm), r.strength, r.strength, r.strength) for r in rows]
    body = table("Spread", ("what", "value"), [("standard deviation, log-odds", f"{found.sd:.2f}")])
    body += forest("Each dot is a rater: strength, log-odds", dots, 0.0)
    body += fold(table("Each rater", ("arm", "rater", "strength", "95 % interval"), cells))
    return Section("heterogeneity", "Differences between raters", told, body)


def _sides(records: Records, seed: int) -> Section:
    told = (
        "How often the left side won where one did; in a balanced design anything but one half is a habit of the eye, "
        f"which the balance keeps out of the standings. p is that of such a lean by chance, votes of a rater turned "
        f"around together. {BOUNDS}"
    )
    decided = [ballot for ballot in records.ballots if ballot.choice in ("left", "right")]
    if not decided:
        return Section("sides", "Side bias", told, "")
    found = side_bias(records.ballots, seed=seed)
    cells = [("left", _percent(found.share, found.low, found.high), f"{found.p:.3f}", found.n)]
    head = ("side", "share and 95 % interval", "p", "decided votes")
    body = forest("Share of the left side", [("left", found.share, found.low, found.high)], 0.5, (0.0, 1.0))
    return Section("sides", "Side bias", told, body + table("Side bias", head, cells))


def _style(records: Records, seed: int) -> Section:
    told = (
        "Standings as they would be if all texts were alike in length and looks; beside them what one standard "
        f"deviation more of a style is worth in log-odds, and the left side. {BOUNDS}"
    )
    if not _played(records.ballots):
        return Section("style", "Style control", told, "")
    found = styled(records.ballots, seed=seed)
    named = [(row.name, row.value, row.low, row.high) for row in found.coefficients]
    arms = [(_title(row.arm), row.strength, row.low, row.high) for row in found.standings]
    body = forest("Strength with style held equal", arms, 0.0)
    body += table("Standings with style held equal", ("arm", "strength", "95 % interval"), _signed_rows(arms))
    body += table("What style is worth", ("what", "log-odds", "95 % interval"), _signed_rows(named))
    return Section("style", "Style control", told, body if arms else "")


def _catches(records: Records, seed: int) -> Section:
    told = (
        "Trials with a right answer. The same text twice passes by both, neither or skip; a post beside its own words "
        "shuffled, or those alone, unless the shuffled words are liked. They filter no vote and nobody's pay: the last "
        f"table only says what the standings would be without raters who failed two. {BOUNDS}"
    )
    names = {"same": "the same text twice", "salad": "shuffled words"}
    rows = []
    for purpose, name in names.items():
        rows.append(_of_share(name, [(c.rater, c.passed) for c in records.catches if c.purpose == purpose], seed))
    failed = Counter(catch.rater for catch in records.catches if not catch.passed)
    head = ("trials", "passed", "how many")
    body = table("Catch trials", head, [row for row in rows if row]) if records.catches else ""
    each = [(_rater(n), failed[r.id]) for n, r in enumerate(records.raters, 1) if failed[r.id]]
    body += table("Who failed some", ("rater", "failed"), each) if each else ""
    if without := {rater for rater, count in failed.items() if count > 1}:
        kept = standings([ballot for ballot in records.ballots if ballot.rater not in without], seed=seed)
        bars = [(_title(row.arm), row.strength, row.low, row.high) for row in kept]
        told_of = f"Standings without the {_many(len(without), 'rater')} who failed two or more"
        body += table(told_of, ("arm", "strength", "95 % interval"), _signed_rows(bars)) if bars else ""
    return Section("catches", "Catch trials", told, body, "counted votes on catch trials")


def _voids(records: Records, seed: int) -> Section:
    told = (
        "Trials that do not count, by reason, of all that were written: most are texts that nobody was shown because "
        "they would tell how they were made or leave nothing to choose; another attempt takes their place."
    )
    rows = [(why, count, whole(count / records.trials)) for why, count in records.voids.items()]
    body = table("Void trials", ("reason", "trials", "of all"), rows) if rows else ""
    return Section("voids", "Void trials", told, body, "void trials; all that were written count")


def _events(records: Records, seed: int) -> Section:
    told = "What happened while the study ran, apart from votes."
    rows = list(records.event_counts.items())
    number = {rater.id: n for n, rater in enumerate(records.raters, 1)}
    listed = [
        (event.at, event.kind, _rater(number.get(event.rater, 0)), _told(event.told))
        for event in records.events[:MAX_EVENTS]
    ]
    more = len(records.events) - len(listed)
    caption = f"Each event, {more} more in the export" if more else "Each event"
    body = table("Events", ("event", "how often"), rows) if rows else ""
    body += fold(table(caption, ("at", "event", "rater", "told"), listed)) if listed else ""
    return Section("events", "Events", told, body, "events; nothing was logged")


SECTIONS: tuple[Callable[[Records, int], Section], ...] = (
    *(_protocol, _people, _standings, _rates, _marks, _matrix, _sequential, _agreement, _judges, _detection),
    *(_recognisability, _heterogeneity, _sides, _style, _catches, _voids, _events),
)


# ---- words and numbers


def _title(arm: str) -> str:
    """What an arm is called; one that is not known keeps its id."""
    way, _, model = arm.partition("@")
    known = title(way) if way == HUMAN or way in ARMS else way
    return f"{known} by {model}" if model else known


def _played(ballots: Iterable[Ballot]) -> list[Ballot]:
    return [ballot for ballot in ballots if ballot.choice != "skip"]


def _rater(number: int) -> str:
    return f"rater {number}" if number else NONE


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def _span(counts: Sequence[int]) -> str:
    return f"{min(counts)}, {median(counts):g}, {max(counts)}" if counts else NONE


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else NONE


def _percent(value: float, low: float, high: float) -> str:
    return f"{whole(value)} ({whole(low)} to {whole(high)})"


def _signed_rows(bars: Iterable[Bar]) -> list[tuple[str, str, str]]:
    return [(name, _signed(value), f"{_signed(low)} to {_signed(high)}") for name, value, low, high in bars]


def _with_bounds(found: Interval | None) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found else NONE


def _of_interval(name: str, found: Interval | None, *, plain: bool = False) -> tuple[str, str, int] | None:
    if found is None:
        return None
    return name, _with_bounds(found) if plain else _percent(found.value, found.low, found.high), found.n


def _of_share(name: str, said: Sequence[tuple[str, bool]], seed: int) -> tuple[str, str, int] | None:
    """How often something was so, of what (rater, whether) says."""
    if not said:
        return None
    hits = np.array([float(hit) for _, hit in said])  # (N,)
    return name, _percent(*share(hits, numbers([rater for rater, _ in said]), seed)), len(said)


def _told(told: str) -> str:
    """What an event says beside its kind, as words where it is a JSON object."""
    try:
        said = json.loads(told)
    except ValueError:
        return told
    return ", ".join(f"{key}: {value}" for key, value in said.items()) if isinstance(said, dict) else told


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --ink: #1d2433; --soft: #5a6478; --line: #d9dee8; --back: #fff; --hue: #2457a6 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8ebf2; --soft: #a3adc0; --line: #39414f; --back: #14181f; --hue: #8ab4f8 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 60rem;
  margin: 0 auto; padding: 1.5rem }}
h1 {{ font-size: 1.7rem; margin: 0 }} h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .3rem }}
p {{ max-width: 46rem; margin: .3rem 0 .8rem }} section > p, .none {{ color: var(--soft) }}
nav ol {{ columns: 3 14rem; padding-left: 1.4rem; font-size: .92rem }} a {{ color: var(--hue) }}
h1, td, th, p, text {{ unicode-bidi: isolate }} td, th {{ overflow-wrap: anywhere }}
.wide {{ overflow-x: auto; margin: .6rem 0 1rem }} summary {{ cursor: pointer; color: var(--hue) }}
table {{ border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 50% }}
caption {{ text-align: left; font-weight: 600; padding-bottom: .2rem }}
td, th {{ padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; font-weight: 400; min-width: 3.5rem; white-space: pre-line }}
thead th {{ color: var(--soft); font-size: .85rem }}
figure {{ margin: .6rem 0 }} figcaption {{ font-weight: 600; font-size: .92rem }} svg {{ width: 100%; height: auto }}
.grid {{ stroke: var(--line) }} .mark {{ stroke: var(--soft); stroke-dasharray: 4 4 }}
.bar {{ stroke: var(--hue); stroke-width: 3; stroke-linecap: round }} .dot {{ fill: var(--hue); fill-opacity: .85 }}
.curve {{ fill: none; stroke: var(--soft); stroke-opacity: .5; stroke-width: 1.5 }}
.strong {{ stroke: var(--hue); stroke-opacity: 1; stroke-width: 2.5 }}
.tick {{ fill: var(--soft); font-size: 12px }} .name {{ fill: var(--ink); font-size: 13px }}
@media print {{ details > * {{ display: block }} section {{ break-inside: avoid }} }}
</style></head>
<body><header><h1>{title}</h1><p>{lead}</p><nav aria-label="Contents"><ol>{contents}</ol></nav></header>
<main>{main}</main></body></html>
"""
