"""Profile: what was made of the person's likes, and everything they can do about it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from demo import own_words, words
from demo.files import MINE
from demo.plots import GREY, plain
from demo.visitor import at, in_words, offer
from studies.house import House
from studies.own import Point, Portrait
from studies.store import Refused

SHOWN = 60  # likes of a topic, the latest
COLOURS = 9  # topics of the map that have one


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    head = gr.HTML(elem_id="portrait")
    with gr.Accordion("Change it", open=False, elem_id="portrait-edit"):
        topic = gr.Dropdown([], label="Topic", elem_id="topic")
        name = gr.Textbox(label="Its name", elem_id="topic-name", max_length=60)
        with gr.Row(elem_classes="keys"):
            rename = gr.Button("Rename", elem_id="topic-rename")
            pin = gr.Button("Pin", elem_id="topic-pin")
            mute = gr.Button("Mute", elem_id="topic-mute")
            drop = gr.Button("Take all out", elem_id="topic-out", variant="stop")
        likes = gr.CheckboxGroup([], label="Its likes, the latest first", elem_id="topic-likes")
        out = gr.Button("Take the ticked ones out", elem_id="likes-out")
        gr.Markdown(
            "A pinned topic comes first. A muted one counts no more, nor do likes to come that belong to it. What is "
            "taken out is as if you had never liked it; it stays in the file until you delete everything."
        )
    with gr.Row(elem_classes="keys"):
        draw = gr.Button("Draw the map of my taste", elem_id="map-draw")
    plane = gr.Plot(elem_id="map", show_label=False, visible=False)
    time = gr.Plot(elem_id="months", show_label=False, visible=False)
    gr.Markdown("### Everything Palate knows of you")
    with gr.Row(elem_classes="keys"):
        take = gr.Button("Export it as a zip", elem_id="export-me")
        gone = gr.Button("Delete everything", elem_id="delete-me", variant="stop")
    zipped = gr.HTML(elem_id="export-zip")
    sure = gr.Textbox(
        visible=False, elem_id="delete-sure", label="Votes, likes, fits: all of it, for ever. Type DELETE"
    )
    note = gr.HTML(elem_id="portrait-note")

    @in_words
    def show(now: str | None, request: gr.Request) -> tuple[str, gr.Dropdown, gr.Plot]:
        studio, session = at(house, request)
        told = studio.own.portrait(session)
        choices = own_words.topic_choices(told)
        known = {value for _, value in choices}
        value = now if now in known else None
        return (
            own_words.portrait(told),
            gr.Dropdown(choices, value=value),
            gr.Plot(months(told), visible=bool(told.months)),
        )

    def call_wrong(sentence: str, request: gr.Request) -> str:
        studio, session = at(house, request)
        studio.own.call_wrong(session, sentence)
        return own_words.portrait(studio.own.portrait(session))

    @in_words
    def members(anchor: str | None, request: gr.Request) -> gr.CheckboxGroup:
        studio, session = at(house, request)
        found = studio.own.members(session, anchor or "")[:SHOWN]
        return gr.CheckboxGroup([(item.text[:160], item.id) for item in found], value=[])

    def editing(kind: str) -> Callable[..., str]:
        """The handler of one button; pin and mute take back what holds already."""

        @in_words
        def change(anchor: str | None, name: str, request: gr.Request) -> str:
            studio, session = at(house, request)
            told = studio.own.portrait(session)
            pinned = [topic for topic in told.topics if topic.pinned]
            held = {topic.anchor for topic in (told.muted if kind == "mute" else pinned)}
            value = name if kind == "name" else "" if anchor in held else "1"
            studio.own.edit(session, kind, [anchor] if anchor else [], value)
            return words.note("Changed.")

        return change

    @in_words
    def take_out(anchor: str | None, ticked: list[str], request: gr.Request) -> str:
        studio, session = at(house, request)
        ids = ticked or [item.id for item in studio.own.members(session, anchor or "")]
        studio.own.edit(session, "out", ids)
        return words.note(f"{len(ids)} taken out.")

    @in_words
    def the_map(request: gr.Request) -> gr.Plot:
        studio, session = at(house, request)
        points = studio.own.taste_map(session)
        if len(points) < 3:
            raise Refused("like three things and there is something to draw")
        return gr.Plot(scatter(points), visible=True)

    @in_words
    def export(request: gr.Request) -> str:
        studio, session = at(house, request)
        name = studio.own.export_me(session).name
        return own_words.zipped(f"{MINE}/{name}", name)

    @in_words
    def delete(typed: str, request: gr.Request) -> tuple[str, gr.Textbox, str]:
        if typed.strip() != "DELETE":
            raise Refused("nothing was deleted: type DELETE in capitals")
        studio, session = at(house, request)
        studio.own.delete_me(session)
        told = "Deleted: votes, likes, texts, fits. Reload the page to begin anew."
        return words.note(told), gr.Textbox(value="", visible=False), ""

    offer(call_wrong)
    quiet: Any = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    shown = [head, topic, time]
    opened.select(show, topic, shown, **quiet)
    topic.change(members, topic, likes, **quiet)
    changes = [
        rename.click(editing("name"), [topic, name], note, **quiet),
        pin.click(editing("pin"), [topic, name], note, **quiet),
        mute.click(editing("mute"), [topic, name], note, **quiet),
        drop.click(take_out, [topic, gr.State([])], note, **quiet),
        out.click(take_out, [topic, likes], note, **quiet),
    ]
    for change in changes:
        change.then(show, topic, shown, **quiet).then(members, topic, likes, **quiet)
    draw.click(the_map, None, plane, api_visibility="private")
    take.click(export, None, zipped, api_visibility="private")
    gone.click(lambda: gr.Textbox(visible=True), None, sure, **quiet)
    ended = sure.submit(delete, sure, [note, sure, zipped], **quiet)
    ended.then(show, topic, shown, **quiet).then(members, topic, likes, **quiet)


def months(told: Portrait) -> go.Figure:
    """Likes and dislikes of each month, of what has a date."""
    figure = go.Figure()
    for sign, name, colour in ((1, "liked", "#6366f1"), (-1, "disliked", "#f97316")):
        rows = [(month, n) for month, s, n in told.months if s == sign]
        figure.add_bar(x=[month for month, _ in rows], y=[n for _, n in rows], name=name, marker_color=colour)
    return plain(figure, height=240, barmode="stack", xaxis_type="category")


def scatter(points: tuple[Point, ...]) -> go.Figure:
    """Likes that mean alike lie near each other; the axes mean nothing. The larger topics have a colour each."""
    figure = go.Figure()
    largest = [topic for topic, _ in Counter(point.topic for point in points if point.topic).most_common(COLOURS)]
    for topic in ["", *largest]:
        mine = [point for point in points if (point.topic if point.topic in largest else "") == topic]
        figure.add_scatter(
            x=[p.x for p in mine], y=[p.y for p in mine], text=[p.text for p in mine], mode="markers",
            hoverinfo="text", name=topic[:40] or "others", marker_color=None if topic else GREY,
        )  # fmt: skip
    plain(figure, height=520, margin_r=10, legend_orientation="h", legend_y=-0.02)
    return figure.update_layout(xaxis_visible=False, yaxis_visible=False)
