"""The report: right numbers, hostile texts that stay texts, and a page that a browser opens without a word."""

import json
import os
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from engine.methods import ARMS as WAYS
from engine.methods.base import Ask
from studies import figures
from studies.__main__ import main
from studies.ratings import Mark, standings
from studies.records import Records, records
from studies.report import report
from studies.schedule import HUMAN, TOPICS
from studies.sections.page import Page
from studies.sections.pairs import FEW, strengths
from studies.singles import five_points, like_differences, point_differences
from studies.store import Candidate, Store, new_id, now
from tests.studies.test_records import ARMS, RATERS, SETTINGS, STUDY, join, judge, note, open_study, small_study, text

HOSTILE = (
    "</title><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    '" onmouseover="document.title=1" x="',
    "{contents} {{title}} ${document.title = 'taken'}",
    "</td></tr></table><style>*{display:none}</style>",
    "\u202eto left & \u200fback",
)
ALWAYS = ("protocol", "texts", "people", "times")
OF_PAIRS = ("standings", "rates", "matrix", "sequential")
TRUST = ("agreement", "judges", "detection", "recognisability", "heterogeneity", "sides", "style", "catches")
SECTIONS = (*ALWAYS, *OF_PAIRS, *TRUST, "voids", "events")
NAMES = dict(zip(ARMS, ("A1 none-000000", "A2 history-111111", "A3 a person wrote this"), strict=True))


def a_study(folder: Path, raters: int = 6) -> Records:
    """Raters who like `history` best in a balanced order of pairs, with marks, over several topics."""
    store = Store(folder)
    open_study(store)
    for slot in range(raters):
        join(store, f"p-{slot:016x}", slot)
        for position, (left, right) in enumerate([(a, b) for a in ARMS for b in ARMS if a != b] * 2):
            best = ARMS[1] if (slot + position) % 4 else right
            choice = "left" if left == best else "right" if right == best else ("both", "neither")[position % 2]
            flags = [("left", "sounds_ai")] if left == ARMS[0] and slot % 2 else []
            sides = [text(arm, f"{arm[:4]} {'x' * (arm == HUMAN)} words {slot} {position}!") for arm in (left, right)]
            trial = judge(store, f"p-{slot:016x}", *sides, choice, flags, position=position)
            topic = TOPICS[position % 4]
            store.db.run(
                "update trial set ask = json_set(ask, '$.payload', :topic) where id = :id", topic=topic, id=trial
            )
    return records(store, STUDY)


def cells(page: str, anchor: str) -> list[list[str]]:
    """The rows of all tables in a section, as text."""
    section = re.search(rf'<section id="{anchor}">(.*?)</section>', page, re.DOTALL)
    assert section
    rows = re.findall(r"<tr>(.*?)</tr>", section[1], re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def row(page: str, anchor: str, first: str) -> list[str]:
    return next(found for found in cells(page, anchor) if found[0] == first)


def anchors(page: str) -> tuple[str, ...]:
    return tuple(re.findall(r'<section id="(\w+)">', page))


def lead(page: str) -> str:
    found = re.search(r"<header><h1>[^<]*</h1><p>(.*?)</p>", page)
    assert found
    return unescape(found[1])


def test_every_section_is_there_and_says_what_it_is(tmp_path: Path) -> None:
    page = report(a_study(tmp_path))
    assert anchors(page) == SECTIONS
    assert tuple(re.findall(r'href="#(\w+)"', page)) == SECTIONS
    told = re.findall(r"<section id=\"\w+\"><h2>[^<]+</h2><p>([^<]+)</p>", page)
    assert len(told) == len(SECTIONS)
    assert all(len(words) > 40 for words in told)
    missing = {
        anchor for anchor in SECTIONS if "Missing: " in page.split(f'<section id="{anchor}">')[1].split("</section")[0]
    }
    assert missing == {"agreement", "judges", "catches", "voids", "events"}
    assert len(page) < 200_000


def test_the_numbers_are_those_of_the_votes(tmp_path: Path) -> None:
    found = a_study(tmp_path)
    page = report(found, seed=3)
    best, *_ = strengths = standings(found.ballots, seed=3)
    assert best.arm == ARMS[1]
    assert [cell for cell in cells(page, "standings") if cell[0] != "arm"] == [
        [
            NAMES[s.arm],
            f"{s.strength:+.2f}",
            f"{s.low:+.2f} to {s.high:+.2f}",
            *map(str, (s.wins, s.losses, s.ties)),
        ]
        for s in strengths
    ]
    met = [b for b in found.ballots if {b.left, b.right} == set(ARMS[:2])]
    won = sum(b.choice in ("left", "right") and (b.left if b.choice == "left" else b.right) == ARMS[0] for b in met)
    lost = sum(b.choice in ("left", "right") for b in met) - won
    tied = len(met) - won - lost
    head, *rest = cells(page, "matrix")
    assert next(r for r in rest if r[0] == NAMES[ARMS[0]])[head.index("A2")] == f"{won}-{lost}-{tied}"
    assert next(r for r in rest if r[0] == NAMES[ARMS[1]])[head.index("A1")] == f"{lost}-{won}-{tied}"
    assert row(page, "people", "raters with a counted vote")[1] == "6"
    assert row(page, "people", "counted votes on pairs")[1] == "72"
    assert row(page, "people", "counted votes a rater: least, median, most")[1] == "12, 12, 12"
    left = sum(b.choice == "left" for b in found.ballots)
    decided = sum(b.choice in ("left", "right") for b in found.ballots)
    assert row(page, "sides", "left")[1].startswith(f"{left / decided:.0%} (")
    assert row(page, "sides", "left")[3] == str(decided)
    assert row(page, "protocol", "design.seed")[1] == "41"
    assert row(page, "protocol", "design_id")[1] == "d5d5d5d5"
    assert row(page, "protocol", "A2") == ["A2", ARMS[1], ARMS[1]]


def test_what_is_small_is_told_as_well(tmp_path: Path) -> None:
    page = report(records(small_study(tmp_path), STUDY))
    assert row(page, "voids", "empty")[1:] == ["2", "10%"]
    assert row(page, "events", "replaced")[1] == "2"
    assert row(page, "catches", "the same text twice")[1] == "50% (too few)"
    assert row(page, "catches", "shuffled words")[2] == "3"
    assert row(page, "catches", "rater 2")[1] == "2"
    assert "Standings without the 1 rater who failed two or more" in page
    assert row(page, "agreement", "pairs: the same of left, right and tie")[1] == "50% (too few)"
    assert row(page, "agreement", "single texts: the same verdict")[1] == "0% (too few)"
    assert row(page, "people", "votes that were withdrawn")[1] == "1"
    assert row(page, "people", "slots that became free again")[1] == "1"
    assert row(page, "marks", NAMES[ARMS[0]])[1:] == ["100% (too few)", "0% (too few)", "1"]


def test_nobody_is_named_and_nobody_can_be_paid(tmp_path: Path) -> None:
    store = small_study(tmp_path)
    note(store, "settings changed", {"before": SETTINGS | {"minutes": 7}})
    page = report(records(store, STUDY))
    assert "settings changed" in page
    for secret in (*RATERS, "PERSON-", "SUBMISSION-", "resume0x", "-session", "CODE-FOR-PAY", "/home/somebody", "cc="):
        assert secret not in page
    assert "rater 3" in page
    assert row(page, "protocol", "codes")[1] == "set, withheld here"
    assert row(page, "protocol", "people")[1] == "people.jsonl"


def hostile_study(folder: Path) -> Records:
    design = {"seed": 1, "arms": list(HOSTILE[:2]), HOSTILE[1]: HOSTILE[0]}
    store = small_study(folder, title=HOSTILE[0], settings=SETTINGS | {"design": design, "consent": HOSTILE[4]})
    for n, said in enumerate(HOSTILE):
        for n_rater, rater in enumerate(RATERS):
            judge(store, rater, text(said, said), text(HUMAN, said), "left", position=50 + n, attempt=n_rater)
        judge(store, RATERS[0], said, HUMAN, position=70 + n, void_reason=said)
        store.db.run(
            "insert into event (study, rater, kind, told, at) values (:study, null, :kind, :told, :at)",
            study=STUDY,
            kind=said,
            told=said,
            at=now(),
        )
    return records(store, STUDY)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    page = report(hostile_study(tmp_path))
    for tag in ("<script", "<img", "<style>*", 'x=""'):
        assert tag not in page
    assert not re.search(r"<[^>]*\son\w+\s*=", page), "no handler in any tag"
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("<style>") == 1
    assert row(page, "voids", HOSTILE[4])[1] == "1"
    assert row(page, "events", HOSTILE[3])[1] == "1"


def opened(chromium: Browser, path: Path) -> tuple[Any, list[str]]:
    page = chromium.new_page(viewport={"width": 1100, "height": 900})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text))
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.goto(path.resolve().as_uri())
    return page, said


def test_a_browser_opens_it_without_a_word(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report(a_study(tmp_path / "data")), encoding="utf-8")
    page, said = opened(chromium, path)
    assert page.title() == "A taste test"
    assert page.locator("svg").count() >= 6
    for plot in page.locator("figure").all():
        box = plot.locator("svg").bounding_box()
        assert box
        assert box["width"] > 500
        assert plot.locator("xpath=following::table").count() > 0
        assert plot.locator("svg").get_attribute("aria-label")
    text_in_plots = page.evaluate(
        """() => [...document.querySelectorAll('svg')].filter(svg => {
            const whole = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text, circle')].some(part => {
                const box = part.getBoundingClientRect();
                return box.left < whole.left - 1 || box.right > whole.right + 1 || box.bottom > whole.bottom + 1;
            });
        }).length"""
    )
    assert text_in_plots == 0, "nothing is cut off"
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if shots := os.environ.get("PALATE_SHOTS"):
        page.set_viewport_size({"width": 1100, "height": 900})
        page.screenshot(path=str(Path(shots) / "report.png"), full_page=True)
    assert said == []
    page.close()


def test_a_browser_runs_nothing_of_what_people_wrote(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report(hostile_study(tmp_path / "data")), encoding="utf-8")
    page, said = opened(chromium, path)
    assert page.title() == HOSTILE[0]
    assert page.inner_text("h1") == HOSTILE[0]
    assert page.locator("script, img, section style").count() == 0
    assert page.locator("section").count() == len(SECTIONS) + 2, "there are single texts as well"
    assert page.locator("#events").is_visible()
    assert said == []
    page.close()


def test_play_and_nothing_at_all(tmp_path: Path) -> None:
    empty = report(records(Store(tmp_path / "empty"), None))
    left_out = {"texts", "agreement", "catches", "events"}  # of which play has none
    assert anchors(empty) == tuple(anchor for anchor in SECTIONS if anchor not in left_out)
    assert empty.count("Missing: ") == len(anchors(empty)) - 1, "but for how many there are: none"
    store = small_study(tmp_path / "some")
    assert f"name a study after --study ({STUDY})" in report(records(store, None))
    store.open_session("me-session", "me")
    judge(store, "me", *ARMS[:2], "left", study=None)
    page = report(records(store, None))
    assert "There was no study" in page
    assert lead(page) == "1 main vote by 1 rater."
    assert row(page, "standings", NAMES[ARMS[1]].replace("A2", "A1"))[2:] == ["too few", "0", "1", "0"]
    only_skips = Store(tmp_path / "skips")
    only_skips.open_session("me-session", "me")
    judge(only_skips, "me", *ARMS[:2], "skip", study=None)
    assert row(report(records(only_skips, None)), "people", "of these skipped")[1] == "1"


def test_a_study_before_anybody_came(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_study(store, settings={})
    page = report(records(store, STUDY))
    assert lead(page) == "0 main votes by 0 raters."
    assert row(page, "protocol", "study id")[1] == STUDY


def test_coverage_is_told_of_few_raters_alone(tmp_path: Path) -> None:
    quoted, unknown = "In simulated studies of 10 raters they held the truth 95.7% of the time", "has not been measured"
    all_of = a_study(tmp_path, raters=FEW)
    said = {}
    for raters in (1, 9, 10, FEW):
        among = {rater.id for rater in all_of.raters[:raters]}
        some = replace(
            all_of,
            raters=all_of.raters[:raters],
            ballots=tuple(ballot for ballot in all_of.ballots if ballot.rater in among),
        )
        said[raters] = strengths(Page(some, 0)).told + Page(some, 0).intervals
    assert [raters for raters, told in said.items() if quoted in told] == [10]
    assert [raters for raters, told in said.items() if unknown in told] == [9]


def test_of_one_rater_the_page_does_not_speak_of_drawing_raters(tmp_path: Path) -> None:
    one, two = (report(a_study(tmp_path / str(raters), raters=raters)) for raters in (1, 2))
    assert "raters anew" in two
    assert "raters are drawn" in two
    assert "raters anew" not in one
    assert "raters are drawn" not in one
    assert "All votes are of one rater" in one


def marks_alone(folder: Path, raters: int = 12) -> Store:
    """Raters of unequal strictness who mark texts of two arms and a person's posts from 1 to 5, some the same."""
    store = Store(folder)
    design = {"arms": list(ARMS), "kinds": ["mark"], "same": 0, "salad": 0}
    open_study(store, settings=SETTINGS | {"scale": "five", "design": design})
    for slot in range(raters):
        rater = f"p-{slot:016x}"
        join(store, rater, slot)
        for position, arm in enumerate(ARMS * 3):
            shared = text(arm, f"{arm[:4]} said {'x' * (arm == HUMAN)} {position} of {slot % 2}.")
            mark = str(min(5, 1 + slot % 3 + ARMS.index(arm) + (position > 5)))
            judge(store, rater, shared, None, mark, [("left", "sounds_ai")], kind="mark", position=position)
    return store


def test_marks_have_an_analysis_of_their_own_and_pairs_no_place(tmp_path: Path) -> None:
    found = records(marks_alone(tmp_path), STUDY)
    page = report(found, seed=2)
    assert anchors(page) == (
        *ALWAYS,
        "marks",
        "points",
        "differences",
        "agreement",
        "recognisability",
        "voids",
        "events",
    )
    assert "sounds like AI" not in "".join(map(str, cells(page, "marks"))), "nobody was asked"
    for marked in five_points(found.marks, seed=2):
        told = row(page, "points", NAMES[marked.arm])
        bounds = f"{marked.mean.low:.2f} to {marked.mean.high:.2f}"
        assert told[1:] == [f"{marked.mean.value:.2f}", bounds, *map(str, marked.counts), "36"]
    alpha = row(page, "points", "ordinal alpha")
    assert re.fullmatch(r"-?0\.\d\d \(-?\d\.\d\d to \d\.\d\d\)", alpha[1])
    assert alpha[2] == "108"
    for d in point_differences(found.marks, seed=2):
        told = row(page, "differences", f"{NAMES[d.a]} against {NAMES[d.b]}")
        bounds = f"{d.value.low:+.2f} to {d.value.high:+.2f}"
        assert told[1:] == [f"{d.value.value:+.2f}", bounds, "12", "72"]


def test_cards_are_compared_by_how_often_they_are_liked(tmp_path: Path) -> None:
    found = records(marks_alone(tmp_path), STUDY)
    choices = ["like" if int(mark.choice) > 3 else "dislike" for mark in found.marks]
    cards = [replace(mark, choice=choice) for mark, choice in zip(found.marks, choices, strict=True)]
    funny = [Mark(m.rater, m.arm, {"like": "funny"}.get(m.choice, "not_funny"), True, m.trial) for m in cards]
    page = report(replace(found, marks=tuple(cards + funny)))
    assert page.count("Share that was liked, cards: each two arms") == 1
    assert page.count("Share that was liked, marks: each two arms") == 1
    assert [told[0] for told in cells(page, "marks")].count(NAMES[HUMAN]) == 2, "cards and marks are told apart"
    [first, *_] = like_differences(cards)
    told = row(page, "differences", f"{NAMES[first.a]} against {NAMES[first.b]}")
    assert told[1] == f"{first.value.value * 100:+.0f}"
    head = next(told for told in cells(page, "marks") if told[0] == "arm")
    assert head[1:] == ["liked", "disliked", "sounds like AI", "texts judged"], "of cards it is asked"


def test_the_design_decides_what_is_missed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    design = {"arms": list(ARMS), "kinds": ["card"], "same": 1, "salad": 1}
    open_study(store, settings=SETTINGS | {"design": design})
    page = report(records(store, STUDY))
    wanted = ("marks", "differences", "agreement", "detection", "recognisability", "catches", "voids", "events")
    assert anchors(page) == (*ALWAYS, *wanted)
    assert "Missing: counted verdicts on single texts." in page


def test_few_votes_have_no_interval(tmp_path: Path) -> None:
    found = a_study(tmp_path, raters=2)
    page = report(found)
    assert row(page, "standings", NAMES[ARMS[1]])[2] != "too few"
    few = report(replace(found, ballots=found.ballots[:9]))
    for anchor, at in (("standings", 2), ("rates", 1), ("rates", 3), ("sequential", 2), ("detection", 1), ("sides", 1)):
        told = [told for told in cells(few, anchor) if told[0] not in ("arm", "pair", "side")]
        assert told
        assert all("too few" in line[at] for line in told), anchor
    assert "too few" in row(few, "style", "left")[2]
    assert 'class="bar"' not in few
    assert "Out of fewer than 10 votes" in few


def test_what_wrote_the_texts_is_told(tmp_path: Path) -> None:
    way, wrapped = next(arm for arm in WAYS if arm.startswith("retrieval")), ARMS[0]
    store = Store(tmp_path)
    design = {"arms": [way, wrapped, HUMAN], "kinds": ["pair"]}
    open_study(store, settings=SETTINGS | {"design": design})
    join(store, RATERS[0], 0)
    one = Candidate(new_id(), way, "Socks vote.", tokens=10, seconds=1.0, state="3fa9c2")
    two = Candidate(new_id(), way, "Ducks vote.", tokens=15, seconds=2.0, state="77aa11")
    plain = text(wrapped)
    first = judge(store, RATERS[0], one, plain, "left", position=0)
    judge(store, RATERS[0], two, HUMAN, "left", position=1)
    judge(store, RATERS[0], plain, one, "right", position=2, purpose="repeat", repeats=first)
    judge(store, RATERS[0], Candidate(new_id(), way, "Never shown.", tokens=99), HUMAN, position=3)
    opened = {"palate": "0.3", "python": "3.12", "machine": "two cores", "base": True}
    for told in (opened, opened, opened | {"torch": "2.7"}):
        note(store, "opened", told)
    page = report(records(store, STUDY))
    name = row(page, "protocol", "A1")[1]
    told = cells(page, "texts")
    settings = next(line for line in told if line[0] == f"A1 {name}")
    assert "k = 4" in settings[1]
    assert "inner.template = likes" in settings[1], "those of the method inside as well"
    assert settings[2] == WAYS[way].paper
    texts = [line for line in told if line[0] == f"A1 {name}"][1]
    assert texts[1:] == ["3fa9c2\n77aa11", "2", "12.5", "1.50"], "a repeat is the same text, and one was not shown"
    assert row(page, "texts", "e1")[1:] == ["A1, A2", "3"]
    assert row(page, "texts", "0.8") == ["0.8", "0.95", "50", "1.1", "56", "3"]
    assert row(page, "texts", "joke")[1:3] == [Ask(payload="pigeons").instruction(), "pigeons"]
    versions = [line for line in told if "two cores" in line]
    assert [line[1:4] for line in versions] == [["0.3", "3.12", "two cores"]] * 2, "each once"
    assert [line[4:] for line in versions] == [["True", figures.NONE], ["True", "2.7"]]
    assert "Versions and hardware" not in report(a_study(tmp_path / "other"))


def test_the_survey_is_counted_and_what_pages_ask_is_not(tmp_path: Path) -> None:
    asked = [
        {"id": "age", "text": "How old?", "options": ["young", "old"]},
        {"id": "likes", "text": "What else?", "options": []},
    ]
    store = Store(tmp_path)
    open_study(store, settings=SETTINGS | {"survey": asked})
    said: list[dict[str, str]] = [
        {"consent": "Yes?", "instructions": "read", "likes": "no card left", "survey": "given", "age": "old"},
        {"consent": "Yes?", "survey:age": "young", "survey:likes": "<b>ducks</b>", "survey": "given"},
        {"survey:age": "old", "survey:likes": "", "survey": "given"},
        {"survey:age": "middle", "survey:likes": ""},
    ]
    for slot, answers in enumerate(said):
        join(store, f"p-{slot:016x}", slot)
        for question, value in answers.items():
            who = f"p-{slot:016x}"
            store.db.run(
                "insert into answer values (:who, :q, :value, :at)", who=who, q=question, value=value, at=now()
            )
    page = report(records(store, STUDY))
    counted = {told[0]: told[1] for told in cells(page, "survey")}
    assert counted == {
        "answer": "raters",
        "young": "1",
        "old": "2",
        "middle": "1",
        "left empty": "2",
        "wrote something": "1",
    }
    assert "ducks" not in page, "their texts are in the export"
    assert "no card left" not in page
    assert "survey" not in anchors(report(a_study(tmp_path / "other")))


def test_how_long_it_took(tmp_path: Path) -> None:
    found = a_study(tmp_path)
    ends = ("2026-11-25T09:10:00.000+00:00", "2026-11-25T09:21:30.000+00:00", "2026-11-25T09:03:00.000+00:00")
    raters = [replace(r, ended=end, completion="completed") for r, end in zip(found.raters, ends, strict=False)]
    slow = tuple(
        replace(t, viewed=30_000 if HUMAN in (t.sides[0].arm, t.sides[1].arm) else 2_000, void="hidden" * (n == 0))
        for n, t in enumerate(found.written)
    )
    page = report(replace(found, raters=(*raters, *found.raters[3:]), written=slow))
    assert row(page, "times", "completed")[1:] == ["3", "10.0", "1.0", "20.5"]
    assert row(page, "times", "all of kind pair")[1:] == ["71", "30.0", "2.0", "30.0"]
    assert row(page, "times", NAMES[HUMAN])[1:] == ["48", "30.0", "30.0", "30.0"]
    assert row(page, "times", NAMES[ARMS[0]])[1:] == ["47", "30.0", "2.0", "30.0"]


def test_what_does_not_count_is_told_by_arm_side_and_rater(tmp_path: Path) -> None:
    store = small_study(tmp_path)
    c = RATERS[2]
    judge(store, c, ARMS[1], ARMS[0], "left", position=20, void_after="too fast")
    judge(store, c, ARMS[1], None, "funny", kind="mark", position=21, void_after="too fast")
    for arms in ([*ARMS[:2]], [ARMS[1], ARMS[0]], [HUMAN, ""]):
        note(store, "given up", {"position": 3, "arms": arms})
    page = report(records(store, STUDY))
    told = {tuple(line[:2]): line[2:] for line in cells(page, "voids") if len(line) == 8}
    assert told[NAMES[ARMS[0]], "too fast"] == ["2", "1", "1", "0", "10", "20%"]
    assert told[NAMES[ARMS[0]], "empty"] == ["2", "2", "0", "0", "10", "20%"]
    assert told[NAMES[ARMS[1]], "too fast"] == ["3", "1", "1", "1", "12", "25%"]
    assert (NAMES[HUMAN], "too fast") not in told
    assert ["reason", "left", "right", "funny"] in cells(page, "voids")
    assert ["too fast", "1", "1", "1"] in cells(page, "voids")
    assert row(page, "voids", f"{NAMES[ARMS[1]]} and {NAMES[ARMS[0]]}")[1] == "2"
    assert row(page, "voids", NAMES[HUMAN]) == [NAMES[HUMAN], "1"]
    assert row(page, "people", "rater 3")[-3:] == ["6", "1", "3"], "counted, of these skipped, void"
    assert row(page, "people", "rater 1")[-3:] == ["5", "0", "0"]


def test_the_headline_says_what_the_votes_are_of(tmp_path: Path) -> None:
    assert lead(report(records(small_study(tmp_path), STUDY))) == (
        "8 main votes, 3 on repeats and 5 on catch trials, by 3 raters."
    )


def test_posts_by_people_are_topics_of_their_own(tmp_path: Path) -> None:
    """They all stood in trials about one topic, which is none of theirs."""
    found = a_study(tmp_path)
    topics = {b.trial: TOPICS[0] if HUMAN in (b.left, b.right) else found.topics[b.trial] for b in found.ballots}
    page = report(replace(found, topics=topics))
    assert row(page, "recognisability", f"{NAMES[HUMAN]} and {NAMES[ARMS[0]]}")[1] == "100%"
    assert "each is a topic of its own here" in page
    without = tuple(b for b in found.ballots if HUMAN not in (b.left, b.right))
    design = {"design": {"arms": list(ARMS[:2])}}
    assert found.study
    study = replace(found.study, settings=SETTINGS | design)
    assert "each is a topic of its own here" not in report(replace(found, study=study, ballots=without))


def test_a_pair_of_arms_that_only_tied_has_no_share_and_no_curve(tmp_path: Path) -> None:
    found = a_study(tmp_path)
    tied = replace(found, ballots=tuple(replace(ballot, choice="both") for ballot in found.ballots))
    page = report(tied)
    assert all("0-0" in row[1] for row in cells(page, "sequential")[1:])


def test_the_same_records_the_same_page(tmp_path: Path) -> None:
    found = a_study(tmp_path, raters=3)
    assert report(found) == report(found)
    assert report(found) != report(found, seed=1)


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_study(tmp_path / "data")
    out = tmp_path / "deep" / "report.html"
    assert main(["report", "--data-dir", str(tmp_path / "data"), "--out", str(out), "--study", STUDY]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.3, 0.3), (-4.2, 3.9), (0.5, 0.5), (-0.001, 0.002), (2, 1900), (-7, -6.5)]
)
def test_ticks_hold_the_span_and_are_few(low: float, high: float) -> None:
    ticks = figures.even_ticks(low, high)
    assert ticks[0] <= low + 1e-6
    assert ticks[-1] >= high - 1e-6
    assert 2 <= len(ticks) <= 9
    assert len(set(ticks)) == len(ticks)


def test_long_names_and_far_values_fit() -> None:
    svg = figures.lines("far", [("1", (1e-9, 1e300)), ("2", (1.0,))], 20.0)
    assert "inf" not in svg
    assert "nan" not in svg
    long = figures.forest("long", [("n" * 500, 0.1, 0.0, 1.0), ("short", 0.1, 0.0, 1.0)], 0.0)
    assert "n" * 60 not in long
    assert sum(map(len, re.findall(r">(n+)<", long))) == 500, "nothing is cut"
    centres = [float(y) for y in re.findall(r'<circle[^>]* cy="([\d.]+)"', long)]
    assert centres[1] - centres[0] > 14 / 2 * figures.LINE, "a row is as high as its label"
    assert figures.forest("none", [("a", float("nan"), 0.0, 1.0)], 0.0) == ""


def test_without_a_study_the_only_one_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = small_study(tmp_path / "data")
    out, folder = tmp_path / "report.html", str(tmp_path / "data")
    assert main(["report", "--data-dir", folder, "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "8 main votes" in lead(page)
    assert "No study was named after --study" in lead(page)
    assert main(["report", "--data-dir", folder, "--out", str(out), "--study", STUDY]) == 0
    assert "No study was named" not in out.read_text(encoding="utf-8")
    assert main(["export", "--data-dir", folder, "--out", str(tmp_path / "tables")]) == 0
    assert json.loads((tmp_path / "tables" / "study.json").read_text())["id"] == STUDY
    open_study(store, "study-2")
    capsys.readouterr()
    for command in ("report", "export"):
        assert main([command, "--data-dir", folder, "--out", str(tmp_path / "other")]) == 2
        assert f"name one, {STUDY}, study-2" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
