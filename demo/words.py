"""Values to markup. Texts of people and models go through `text` and stay text: nothing in them is markup."""

import html

from studies.session import Card, Reveal, Side, Taste


def text(value: str) -> str:
    """Inert: escaped, with its line breaks kept by the style sheet; each text keeps its own reading direction."""
    return f'<div class="said" dir="auto">{html.escape(value)}</div>'


def card(shown: Card | None) -> str:
    if shown is None:
        return text("You have seen everything here. Import more with: python app.py --import FILE")
    return text(shown.text)


def side(name: str, shown: Side, chosen: bool) -> str:
    mark = " chosen" if chosen else ""
    likes = "".join(f"<li>{html.escape(like)}</li>" for like in shown.because)
    why = f"<details open><summary>drawn from your likes</summary><ul>{likes}</ul></details>" if likes else ""
    size = f"<small>{shown.tokens} tokens</small>" if shown.tokens else ""
    return f'<div class="side{mark}"><b>{name}: {html.escape(shown.title)}</b> {size}{why}</div>'


def reveal(told: Reveal) -> str:
    if told.choice == "undone":
        head = "Withdrawn: it no longer counts. You know who wrote what, so this pair is not asked again."
    else:
        head = f"Your vote is stored. Both were asked for a joke about {html.escape(told.topic)}."
    left = side("Left", told.left, told.choice in ("left", "both"))
    right = side("Right", told.right, told.choice in ("right", "both"))
    return f'<div class="told"><p>{head}</p><div class="sides">{left}{right}</div></div>'


def taste(so_far: Taste) -> str:
    """The line under the feed: what was learned, and what more likes would bring."""
    counted = f"{so_far.likes} liked, {so_far.dislikes} disliked"
    topics = f"; you seem to like: {html.escape(' / '.join(so_far.topics))}" if so_far.topics else ""
    ask = "" if so_far.likes >= 5 else " Like a few and the blind pairs become about you."
    return f'<div class="note">{counted}{topics}.{ask}</div>'


def about(so_far: Taste) -> str:
    """Your taste and what is not running yet, on the About page."""
    told = f"<p>{html.escape(so_far.summary)}</p>" if so_far.summary else "<p>Like three things and it is written.</p>"
    waiting = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in so_far.waiting)
    missing = f"<h4>Not in the comparison yet</h4><ul>{waiting}</ul>" if waiting else ""
    return f'<div class="about"><h4>What the model makes of your taste</h4>{told}{missing}</div>'


def note(value: str) -> str:
    return f'<div class="note">{html.escape(value)}</div>'
