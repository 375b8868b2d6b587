"""Recommend: what this person may like next, by a scorer of their choice. A reaction teaches, as in the Feed."""

import html
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import at, in_words, offer
from studies.house import House
from studies.recommending import Post, Ranked, Ranker
from studies.session import TROUBLE

TEXT = (
    "The posts that you may like most, of what you imported and have not seen, and of the sample. None of them is kept "
    "for blind pairs. Like or dislike one and it teaches."
)


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: what can rank is named when the person opens it, not before."""
    gr.Markdown(TEXT)
    with gr.Row():
        by = gr.Dropdown([], label="Ranked by", elem_id="recommend-by", scale=3)
        again = gr.Button("Rank again", elem_id="recommend-again", scale=1)
    offline = gr.HTML(elem_id="recommend-offline")
    shown = gr.HTML(elem_id="recommended", padding=False)

    @in_words
    def rankers(now: str | None, request: gr.Request) -> tuple[gr.Dropdown, str]:
        told = at(house, request)[0].recommending.rankers()
        able = [ranker.name for ranker in told if not ranker.lacks]
        return gr.Dropdown(able, value=now if now in able else able[0]), rankings(told)

    def ranked(now: str | None, request: gr.Request) -> Iterator[str]:
        try:
            studio, session = at(house, request)
            for told in studio.recommending.best(session, now or ""):
                yield posts(told)
        except TROUBLE as error:
            yield nothing(str(error))

    def react_to_post(post: str, choice: str, request: gr.Request) -> str:
        studio, session = at(house, request)
        studio.recommending.react(session, post, choice)
        return words.taste(studio.taste(session))

    offer(react_to_post)
    quiet: Any = {"api_visibility": "private", "show_progress": "hidden"}
    many: Any = {"concurrency_limit": 16, "concurrency_id": "recommend"}
    opened.select(rankers, by, [by, offline], queue=False, **quiet).then(ranked, by, shown, **quiet, **many)
    by.input(ranked, by, shown, **quiet, **many)
    again.click(ranked, by, shown, **quiet, **many)


def rankings(told: Sequence[Ranker]) -> str:
    """What the offline benchmark says of each scorer, or why it cannot rank here."""
    rows = "".join(
        f"<li><b>{html.escape(one.name)}</b>: {one.right} with a person's own likes, {one.wrong} with somebody else's; "
        f"{html.escape(one.means)}.{f' <em>Not here: {html.escape(one.lacks)}.</em>' if one.lacks else ''}</li>"
        for one in told
    )
    return (
        '<details><summary>Which one to choose</summary><div class="about"><p>Of 200 people on Jester: how often the '
        f"joke with the higher rating has the higher score. Chance is .5.</p><ul>{rows}</ul></div></details>"
    )


def posts(told: Ranked) -> str:
    if not told.posts:
        bar = f'<progress max="{told.of}" value="{told.done}" aria-label="posts read"></progress>'
        return f'<div class="note" role="status">{bar} Reading {told.done} of {told.of} posts.</div>'
    head = (
        f'<p id="recommend-head" role="status">The best of {told.of}. A score means something beside others of this '
        'list only.</p><p id="recommend-note" role="status" aria-live="polite"></p>'
    )
    return f"{head}<ol class='posts'>{''.join(_post(n, post) for n, post in enumerate(told.posts, 1))}</ol>"


def _post(number: int, post: Post) -> str:
    keys = "".join(
        f'<button type="button" class="own" data-post="{html.escape(post.id)}" data-say="{choice}" '
        f'aria-pressed="false" aria-label="{name} post {number}">{name}</button>'
        for choice, name in (("dislike", "Dislike"), ("like", "Like"))
    )
    return (
        f'<li class="post">{words.text(post.text)}<p class="source">{html.escape(post.source)}; score '
        f'{post.score:.2f}</p><p class="source">near to: <q dir="auto">{html.escape(post.near)}</q></p>'
        f'<div class="post-keys">{keys}</div></li>'
    )


def nothing(why: str) -> str:
    """Why nothing stands here, and where to go."""
    to, name = ("import", "Import") if "Import page" in why else ("feed", "Feed")
    link = f'<button type="button" class="link" data-tab="{to}">Open {name}</button>'
    return f'<p id="recommend-none" role="status">{html.escape(why[0].upper() + why[1:])}. {link}</p>'
