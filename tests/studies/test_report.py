"""The report: right numbers, hostile texts that stay texts, and a page that a browser opens without a word."""

import os
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from studies import figures
from studies import report as page_of
from studies.__main__ import main
from studies.ratings import standings
from studies.records import Records, records
from studies.report import report
from studies.schedule import HUMAN, TOPICS
from studies.store import Store, now
from tests.studies.test_records import ARMS, RATERS, SETTINGS, STUDY, join, judge, open_study, small_study, text

HOSTILE = (
    "</title><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    '" onmouseover="document.title=1" x="',
    "{contents} {{title}} ${document.title = 'taken'}",
    "</td></tr></table><style>*{display:none}</style>",
    "\u202eto left & \u200fback",
)
SECTIONS = ("protocol", "people", "standings", "rates", "marks", "matrix", "sequential", "agreement", "judges")
SECTIONS += ("detection", "recognisability", "heterogeneity", "sides", "style", "catches", "voids", "events")


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


def test_every_section_is_there_and_says_what_it_is(tmp_path: Path) -> None:
    page = report(a_study(tmp_path))
    assert tuple(re.findall(r'<section id="(\w+)">', page)) == SECTIONS
    assert tuple(re.findall(r'href="#(\w+)"', page)) == SECTIONS
    told = re.findall(r"<section id=\"\w+\"><h2>[^<]+</h2><p>([^<]+)</p>", page)
    assert len(told) == len(SECTIONS)
    assert all(len(words) > 40 for words in told)
    missing = {
        anchor for anchor in SECTIONS if "Missing: " in page.split(f'<section id="{anchor}">')[1].split("</section")[0]
    }
    assert missing == {"marks", "agreement", "judges", "catches", "voids", "events"}
    assert len(page) < 200_000


def test_the_numbers_are_those_of_the_votes(tmp_path: Path) -> None:
    found = a_study(tmp_path)
    page = report(found, seed=3)
    best, *_ = strengths = standings(found.ballots, seed=3)
    assert best.arm == ARMS[1]
    assert [cell for cell in cells(page, "standings") if cell[0] != "arm"] == [
        [
            "a person wrote this" if s.arm == HUMAN else s.arm,
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
    assert next(r for r in rest if r[0] == ARMS[0])[head.index(ARMS[1])] == f"{won}-{lost}-{tied}"
    assert next(r for r in rest if r[0] == ARMS[1])[head.index(ARMS[0])] == f"{lost}-{won}-{tied}"
    assert row(page, "people", "raters with a counted vote")[1] == "6"
    assert row(page, "people", "counted votes on pairs")[1] == "72"
    assert row(page, "people", "counted votes a rater: least, median, most")[1] == "12, 12, 12"
    left = sum(b.choice == "left" for b in found.ballots)
    decided = sum(b.choice in ("left", "right") for b in found.ballots)
    assert row(page, "sides", "left")[1].startswith(f"{left / decided:.0%} (")
    assert row(page, "sides", "left")[3] == str(decided)
    assert row(page, "protocol", "design.seed")[1] == "41"
    assert row(page, "protocol", "design_id")[1] == "d5d5d5d5"


def test_what_is_small_is_told_as_well(tmp_path: Path) -> None:
    page = report(records(small_study(tmp_path), STUDY))
    assert row(page, "voids", "empty")[1:] == ["2", "10%"]
    assert row(page, "events", "replaced")[1] == "2"
    assert row(page, "catches", "the same text twice")[1].startswith("50% (")
    assert row(page, "catches", "shuffled words")[2] == "3"
    assert row(page, "catches", "rater 2")[1] == "2"
    assert "Standings without the 1 rater who failed two or more" in page
    assert row(page, "agreement", "pairs: the same of left, right and tie")[1].startswith("50% (")
    assert row(page, "agreement", "single texts: the same verdict")[1].startswith("0% (")
    assert row(page, "people", "votes that were withdrawn")[1] == "1"
    assert row(page, "people", "slots that became free again")[1] == "1"
    assert row(page, "marks", ARMS[0])[1].startswith("100% (")


def test_nobody_is_named_and_nobody_can_be_paid(tmp_path: Path) -> None:
    page = report(records(small_study(tmp_path), STUDY))
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
    assert page.locator("section").count() == len(SECTIONS)
    assert page.locator("#events").is_visible()
    assert said == []
    page.close()


def test_play_and_nothing_at_all(tmp_path: Path) -> None:
    empty = report(records(Store(tmp_path / "empty"), None))
    assert tuple(re.findall(r'<section id="(\w+)">', empty)) == SECTIONS
    assert empty.count("Missing: ") == len(SECTIONS) - 1, "but for how many there are: none"
    store = small_study(tmp_path / "some")
    assert f"name a study after --study ({STUDY})" in report(records(store, None))
    store.open_session("me-session", "me")
    judge(store, "me", *ARMS[:2], "left", study=None)
    page = report(records(store, None))
    assert "There was no study" in page
    assert "1 counted vote by 1 rater." in page
    assert row(page, "standings", ARMS[0])[3:] == ["1", "0", "0"]
    only_skips = Store(tmp_path / "skips")
    only_skips.open_session("me-session", "me")
    judge(only_skips, "me", *ARMS[:2], "skip", study=None)
    assert row(report(records(only_skips, None)), "people", "of these skipped")[1] == "1"


def test_a_study_before_anybody_came(tmp_path: Path) -> None:
    store = Store(tmp_path)
    open_study(store, settings={})
    page = report(records(store, STUDY))
    assert "0 counted votes by 0 raters." in page
    assert row(page, "protocol", "study id")[1] == STUDY


def test_coverage_is_told_of_few_raters_alone(tmp_path: Path) -> None:
    few = report(a_study(tmp_path))
    assert "In simulated studies of 10 raters they held the truth 95.7% of the time" in few
    many = report(a_study(tmp_path / "many", raters=page_of.FEW))
    assert "In simulated studies" not in many


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
    assert "n" * 60 not in figures.forest("long", [("n" * 500, 0.1, 0.0, 1.0)], 0.0)
    assert figures.forest("none", [("a", float("nan"), 0.0, 1.0)], 0.0) == ""
