"""What was found in an import and what was made of a person, to markup; texts stay text, as in `words`."""

import html

from demo.words import FEW, note
from studies.importing import Preview, Saved
from studies.own import Portrait
from studies.statements import sentences

TOPICS_TOLD = 12
LONGEST = 140  # characters of a text that stands for others


def preview(seen: Preview) -> str:
    """What an import holds, before it is saved."""
    report = seen.report
    rows = [("rows found", report.found), ("kept", report.kept), ("liked", report.likes), ("disliked", report.dislikes)]
    rows += [("met, no reaction", report.unrated), ("with text", report.with_text)]
    rows += [("of these only the words of a link", report.stand_ins)] if report.stand_ins else []
    counts = "".join(f"<tr><td>{name}</td><td>{n:,}</td></tr>" for name, n in rows)
    lists = "".join(f"<tr><td>{html.escape(name)}</td><td>{n:,}</td></tr>" for name, n in report.lists.items())
    skipped = "".join(f"<li>{n:,}: {html.escape(why)}</li>" for why, n in sorted(report.skipped.items()))
    dates = (
        f"<p>From {report.oldest:%Y-%m-%d} to {report.newest:%Y-%m-%d}.</p>" if report.oldest and report.newest else ""
    )
    texts = "".join(f"<li>{html.escape(example)}</li>" for example in report.examples)
    parts = [
        f"<h4>{html.escape(seen.name)}: {html.escape(report.source.replace('_', ' '))}</h4>",
        f"<table>{counts}</table>{dates}",
        f"<h4>Rows found, by list</h4><table>{lists}</table>" if lists else "",
        f"<h4>Left out</h4><ul>{skipped}</ul>" if skipped else "",
        f"<h4>For example</h4><ul>{texts}</ul>" if texts else "",
    ]
    return f'<div class="about">{"".join(parts)}</div>'


def saved(now: Saved) -> str:
    return note(f"Saved {now.rows:,} of {now.of:,} rows.")


def imported(now: Saved) -> str:
    return note(f"Imported: {now.rows:,} rows are saved. They are read in the background; the feed goes on meanwhile.")


def door(address: str) -> str:
    link = f'<a href="{html.escape(address)}" target="_blank" rel="noopener noreferrer">Allow it on Reddit\'s page</a>'
    return f'<div class="note">{link}, then come back and press Look.</div>'


def zipped(address: str, name: str) -> str:
    """A link in the page's own frame: a new tab may have no cookie to show."""
    return f'<div class="note"><a href="{html.escape(address)}" download>Download {html.escape(name)}</a></div>'


def fetched(now: Saved) -> str:
    return note(f"{now.rows:,} texts of {now.of:,} that were missing are here.")


def imports(now: Portrait) -> str:
    """What was imported so far, the latest first."""
    broken = ", broken off: the same file again goes on"
    rows = "".join(
        f"<li>{html.escape(name)}: {n:,} rows, {begun[:10]}{'' if ended else broken}</li>"
        for name, n, begun, ended in now.imports
    )
    return f'<div class="about"><h4>Imported so far</h4><ul>{rows}</ul>{reading(now)}</div>' if rows else ""


def reading(now: Portrait) -> str:
    told = f"<p>{now.unread:,} texts are still to be read.</p>" if now.unread else ""
    return told + (f"<p>{now.waiting:,} items have no text yet and teach nothing.</p>" if now.waiting else "")


def portrait(now: Portrait) -> str:
    """The taste in numbers and topics."""
    if now.liked < FEW:
        begin = (
            f"<p>{now.liked} liked so far. From {FEW} likes on topics begin to mean something and the pairs become "
            "about you; until then texts are written for anybody. Swipe in the feed, or import what you liked "
            "elsewhere.</p>"
        )
    else:
        begin = f"<p>{now.liked:,} liked, {now.disliked:,} disliked.</p>"
    likes = "".join(f"<li>{html.escape(begin_of(text))}</li>" for text in now.because)
    lines = "".join(
        f'<li>{html.escape(one)} <button type="button" class="link" data-wrong="{html.escape(one)}" '
        f'aria-label="That is wrong: {html.escape(one)}">wrong?</button></li>'
        for one in sentences(now.summary)
    )
    told = f"<h4>What the model makes of it</h4><ul>{lines}</ul>" if lines else ""
    told += f"<details><summary>drawn from</summary><ul>{likes}</ul></details>" if likes else ""
    topics = "".join(
        f"<li>{'pinned: ' if topic.pinned else ''}<b>{html.escape(topic.label)}</b>: {likes_of(topic.size)}, "
        f"{topic.weight:.0%}<br><small>{html.escape(begin_of(topic.examples[0].text))}</small></li>"
        for topic in now.topics[:TOPICS_TOLD]
    )
    muted = "".join(f"<li>{html.escape(topic.label)}: {likes_of(topic.size)}</li>" for topic in now.muted)
    places = ", ".join(f"{html.escape(name)} {n:,}" for name, n in now.communities)
    parts = [
        begin + reading(now) + told,
        f"<h4>Topics</h4><ul>{topics}</ul>" if topics else "",
        f"<h4>Muted</h4><ul>{muted}</ul>" if muted else "",
        f"<h4>Communities</h4><p>{places}</p>" if places else "",
    ]
    return f'<div class="about">{"".join(parts)}</div>'


def likes_of(n: int) -> str:
    return f"{n:,} like" + "s" * (n != 1)


def begin_of(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()}..."


def topic_choices(now: Portrait) -> list[tuple[str, str]]:
    """Topics to choose from: what they are called, and the like that leads each."""
    named = [(f"{topic.label} ({topic.size:,})", topic.anchor) for topic in now.topics]
    return named + [(f"{topic.label} ({topic.size:,}, muted)", topic.anchor) for topic in now.muted]
