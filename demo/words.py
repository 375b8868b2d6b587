"""Values to markup. Texts of people and models go through `text` and stay text: nothing in them is markup."""

import html
from collections.abc import Sequence

from studies.rooms import Shown, Stage
from studies.session import Card, Reveal, Sending, Side, Taste, Way
from studies.teaching import Fitting

STAGES = {
    "instructions": "Instructions",
    "import": "Your likes",
    "likes": "First, like a few",
    "practice": "Practice",
    "trials": "Judged",
    "survey": "Last questions",
}
FEW = 5  # likes, below which the page says what it can and cannot do
LIKES_TOLD = 4  # of those a text was drawn from; some ways read dozens


def text(value: str, trial: str = "") -> str:
    """Inert: escaped, with its line breaks kept by the style sheet; each text keeps its own reading direction. What
    lies on the table has the name of its trial: it tells the page that another one came."""
    named = f' data-trial="{html.escape(trial)}"' if trial else ""
    return f'<div class="said" dir="auto"{named}>{html.escape(value)}</div>'


def heading(title: str) -> str:
    return f'<h1 id="title">{html.escape(title)}</h1>'


def trial(shown: Shown, side: str) -> str:
    """A text on the table of a study."""
    value = shown.left if side == "left" else shown.right
    letter = f'<b class="letter">{"A" if side == "left" else "B"}</b>' if shown.kind == "pair" else ""
    return letter + text(value, shown.id)


def progress(stage: Stage) -> str:
    """How far a participant is, and their code for going on elsewhere."""
    if stage.step in ("consent", "end") or not stage.resume_code:
        return ""
    counted = f"{STAGES[stage.step]}: {stage.done} of {stage.of}" if stage.of else STAGES[stage.step]
    bar = f'<progress max="{stage.of}" value="{stage.done}" aria-label="progress"></progress>' if stage.of else ""
    return f'<div class="note">{counted} {bar} <small>To go on elsewhere: <b>{stage.resume_code}</b></small></div>'


def task(stage: Stage, kind: str) -> str:
    """What is asked of a participant now."""
    asked = {
        "pair": "Which one is funnier? Arrow keys choose: ← A, B →, ↑ both, ↓ neither. S skips.",
        "card": "Do you like it? Arrow keys answer, S skips.",
        "mark": "How funny is it? S skips.",
    }
    practice = " This is practice: it does not count." if stage.step == "practice" else ""
    return f'<div class="note">{asked.get(kind, "")}{practice}</div>'


def end(stage: Stage) -> str:
    """The thanks, and what to hand in."""
    if stage.step != "end":
        return ""
    told = f"<p>{html.escape(stage.told)}</p>" if stage.told else "<p>Thank you.</p>"
    if stage.code:
        told += f"<p>Your code: <b id='completion'>{html.escape(stage.code)}</b></p>"
    if stage.resume_code:
        told += f"<p><small>To have all of it deleted, tell the study's owner this: {stage.resume_code}</small></p>"
    if stage.url.startswith("https://"):
        told += f'<p><a href="{html.escape(stage.url)}" id="hand-in">Hand it in</a></p>'
    return f'<div class="about">{told}</div>'


EMPTY = "You have seen every post. The model writes on, come back in a moment; or bring more on the Import page"


def card(shown: Card | None) -> str:
    return text(EMPTY) if shown is None else text(shown.text, shown.id)


def side(name: str, shown: Side, chosen: bool, pair: str) -> str:
    """What one side was. Of a pair that was just judged, a switch lets the text teach."""
    mark = " chosen" if chosen else ""
    likes = "".join(f"<li>{html.escape(like)}</li>" for like in shown.because[-LIKES_TOLD:])
    if len(shown.because) > LIKES_TOLD:
        likes += f"<li>and {len(shown.because) - LIKES_TOLD} more</li>"
    if shown.shortened:
        likes += f"<li><small>{shown.shortened} of these stood shortened in the prompt</small></li>"
    why = f"<details open><summary>drawn from your likes</summary><ul>{likes}</ul></details>" if likes else ""
    took = f"<small>{shown.tokens} tokens, written in {shown.seconds:.1f} s</small>" if shown.tokens else ""
    if shown.prompt:
        return f'<div class="side{mark}"><b>{name}: {html.escape(shown.title)}</b> {painted(shown)}{why}</div>'
    teach = (
        f'<label><input type="checkbox" data-teach="{name.lower()}" data-pair="{html.escape(pair)}"> '
        "Teach from this: add it to my likes</label>"
    )
    return f'<div class="side{mark}"><b>{name}: {html.escape(shown.title)}</b> {took}{why}{teach if pair else ""}</div>'


def painted(shown: Side) -> str:
    """What the image model was told, and what of the person's taste did not fit into that."""
    left = f"{shown.left_out} statement{'s' * (shown.left_out > 1)} about your taste"
    short = f"<p><small>{left} did not fit into what it reads: left out, whole.</small></p>" if shown.left_out else ""
    return (
        f"<small>both painted in {shown.seconds:.1f} s</small>"
        f'<p>The image model was told: <q dir="auto">{html.escape(shown.prompt)}</q></p>{short}'
    )


def reveal(told: Reveal, pair: str = "") -> str:
    about = f"a {told.kind} about {html.escape(told.topic)}"
    if told.kind == "picture":
        about = f"a picture of {html.escape(told.topic)}"
    if told.kind in ("caption", "reply"):
        about = f"a {told.kind} to: {html.escape(told.topic)}"
    if told.choice == "undone":
        head = "Withdrawn: it no longer counts. You know who wrote what, so this pair is not asked again."
    else:
        head = f"Your vote is stored. Both were asked for {about}"
        head += "" if head.endswith((".", "!", "?")) else "."
    if told.again and told.choice != "undone":
        head += " You had judged this pair before: it tells how well you agree with yourself, and counts nowhere else."
    left = side("Left", told.left, told.choice in ("left", "both"), pair)
    right = side("Right", told.right, told.choice in ("right", "both"), pair)
    return f'<div class="told"><p>{head}</p><div class="sides">{left}{right}</div></div>'


def taste(so_far: Taste) -> str:
    """The line under the feed, as plain text: what was learned, and what more likes would bring."""
    counted = f"{so_far.likes} liked, {so_far.dislikes} disliked"
    topics = f"; you seem to like: {' / '.join(so_far.topics)}" if so_far.topics else ""
    ask = "" if so_far.likes >= FEW else " Like a few and the blind pairs become about you."
    return f"{counted}{topics}.{ask}{trouble(so_far)}"


def trouble(so_far: Taste) -> str:
    """One plain sentence where the API fails: what happened, and that the app goes on."""
    told = f" No summary by the API: {so_far.trouble.rstrip('.')}; the model that writes goes on instead."
    return told if so_far.trouble else ""


def about(so_far: Taste) -> str:
    """Your taste and what is not running yet, on the About page."""
    told = f"<p>{html.escape(so_far.summary)}</p>" if so_far.summary else "<p>Like three things and it is written.</p>"
    waiting = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in so_far.waiting)
    missing = f"<h4>Not in the comparison yet</h4><ul>{waiting}</ul>" if waiting else ""
    author = html.escape(so_far.author) or "the model that writes"
    by = (
        f"<p><small>Written by {author}.{html.escape(trouble(so_far))}</small></p>"
        if so_far.summary or so_far.trouble
        else ""
    )
    return f'<div class="about"><h4>What the model makes of your taste</h4>{told}{by}{missing}</div>'


def sending(now: Sending) -> str:
    """What would be sent to whom, and whether it may be."""
    if not now.terms:
        state = "The model that writes sums up your taste: no ANTHROPIC_API_KEY is set, so no larger one can be asked."
        kept = f" The yes of {now.since[:10]} is kept until you end it." if now.since else ""
        return note(state + kept)
    state = f"You said yes on {now.since[:10]}." if now.since else "Nothing is sent: you have not said yes."
    return (
        f'<div class="about"><h4>A summary by a larger model?</h4><p>{html.escape(now.terms)}</p><p>{state}</p></div>'
    )


def ways(told: Sequence[Way]) -> str:
    """What is fitted to the person, and why some ways cannot take part yet: each reason, and whom it keeps."""
    reasons: dict[str, list[str]] = {}
    for way in told:
        reasons.setdefault(way.lacks, []).append(way.title)
    waiting = "".join(
        f"<li>{html.escape(why)}<ul>{''.join(f'<li>{html.escape(title)}</li>' for title in titles)}</ul></li>"
        for why, titles in reasons.items()
        if why
    )
    fitted = "".join(
        f"<li>{html.escape(way.title)}: {html.escape(way.note)}</li>" for way in told if way.fittable and way.note
    )
    lists = {"Fitted": fitted, "Waiting": waiting}
    return "".join(f'<div class="about"><h4>{h}</h4><ul>{items}</ul></div>' for h, items in lists.items() if items)


def fitting(now: Fitting) -> str:
    if now.ended:
        moved = f"{now.before:.3f} to {now.after:.3f}" if now.after < now.before else f"stays at {now.before:.3f}"
        told = note(f"Loss on held-out likes: {moved}. {now.ended[0].upper()}{now.ended[1:]}.")
        return told + "".join(
            f'<div class="note">{when}:</div>{text(sample)}'
            for when, sample in zip(("Before", "After"), now.samples, strict=False)
        )
    if not now.step:
        return note("Reading.")
    return note(f"Step {now.step} of {now.steps}, about {now.seconds_left:.0f} s left.")


def note(value: str) -> str:
    return f'<div class="note">{html.escape(value)}</div>'
