"""Train: which ways take part, why some cannot, fitting one to one's own likes, and teaching one on many people's."""

from collections.abc import Callable, Iterator

import gradio as gr
import plotly.graph_objects as go

from demo import likes, words
from demo.files import brought
from demo.plots import plain
from demo.visitor import at, each_in_words, in_words, refusal
from studies.house import House
from studies.session import Studio
from studies.teaching import Fitting

Stopped = Callable[[], bool]


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: the ways are named when the person asks for them, not before."""
    gr.Markdown("### Who takes part\nA choice holds from the next pair that is written. The floor always takes part.")
    chosen = gr.CheckboxGroup([], elem_id="ways", show_label=False)
    lacks = gr.HTML(elem_id="ways-lacking")
    gr.Markdown(
        "### Your own\nThe model stays as it is. Soft tokens or a small adapter are taught from your likes alone, "
        "every fifth of them held out, and kept only if they do better on those. An adapter can be refined once more: "
        "from pairs of what you liked and disliked, and of what you liked and the model would write for anybody."
    )
    kept = likes.lay_out(house, opened)
    own = gr.Dropdown([], label="What is fitted", elem_id="fit-arm")
    with gr.Row(elem_classes="keys"):
        start = gr.Button("Fit to my likes", elem_id="fit", variant="primary")
    gr.Markdown(
        "### Teach a way of writing\nFrom what many other people liked: a JSONL file as `python -m collectors convert` "
        "writes it. Every tenth person is held out; it is kept only if it does better on those. Half an hour at most, "
        "and after a break it goes on with the same file."
    )
    with gr.Row():
        arm = gr.Dropdown([], label="Way", elem_id="teach-arm")
        crowd = gr.File(label="People's reactions", file_types=[".jsonl"], elem_id="teach-file", height=140)
    with gr.Row(elem_classes="keys"):
        teach = gr.Button("Teach it", elem_id="teach")
        stop = gr.Button("Stop", elem_id="fit-stop", variant="stop")
    note = gr.HTML(elem_id="fit-note")
    plot = gr.Plot(elem_id="fit-plot", show_label=False, visible=False)

    @in_words
    def ways(fitted: str | None, request: gr.Request) -> tuple[gr.CheckboxGroup, str, gr.Dropdown, gr.Dropdown]:
        studio, session = at(house, request)
        told = studio.ways(session)
        ticked = gr.CheckboxGroup([(way.title, way.arm) for way in told], value=[way.arm for way in told if way.chosen])
        mine = [(way.title, way.arm) for way in told if way.fittable]
        many = [(way.title, way.arm) for way in told if way.teachable]
        return ticked, words.ways(told), gr.Dropdown(mine, value=fitted or mine[0][1]), gr.Dropdown(many)

    @in_words
    def choose(arms: list[str], request: gr.Request) -> None:
        studio, session = at(house, request)
        studio.choose(session, arms)

    def fit(way: str | None, request: gr.Request) -> Iterator[tuple[str, gr.Plot]]:
        yield from shown(lambda studio, session, stopped: studio.fit(session, way or "", stopped), request)

    def learn(way: str | None, file: str | None, request: gr.Request) -> Iterator[tuple[str, gr.Plot]]:
        if not way or not file:
            raise refusal("choose a way and a file first")

        def begin(studio: Studio, session: str, stopped: Stopped) -> Iterator[Fitting]:
            return studio.teach(session, way, brought(request, file), stopped)

        yield from shown(begin, request)

    @each_in_words
    def shown(
        begin: Callable[[Studio, str, Stopped], Iterator[Fitting]], request: gr.Request
    ) -> Iterator[tuple[str, gr.Plot]]:
        studio, session = at(house, request)
        studio.stop_teaching.clear()
        for now in begin(studio, session, studio.stop_teaching.is_set):
            yield words.fitting(now), gr.Plot(curve(now), visible=bool(now.curve))

    @in_words
    def end(request: gr.Request) -> None:
        at(house, request)[0].stop_teaching.set()

    opened.select(ways, own, [chosen, lacks, own, arm], queue=False, api_visibility="private", show_progress="hidden")
    chosen.input(choose, chosen, None, queue=False, api_visibility="private", show_progress="hidden")
    for done in (
        kept,
        start.click(fit, own, [note, plot], api_visibility="private", show_progress="hidden"),
        teach.click(learn, [arm, crowd], [note, plot], api_visibility="private", show_progress="hidden"),
    ):
        done.then(ways, own, [chosen, lacks, own, arm], api_visibility="private", show_progress="hidden")
    stop.click(end, None, None, queue=False, api_visibility="private", show_progress="hidden")


def curve(now: Fitting) -> go.Figure:
    """Loss a step, and on held-out likes."""
    figure = go.Figure()
    for name, place in (("loss", 1), ("held-out likes", 2)):
        points = [(row[0], row[place]) for row in now.curve if row[place] == row[place]]  # not nan
        x, y = [step for step, _ in points], [value for _, value in points]
        figure.add_scatter(x=x, y=y, name=name, mode="lines+markers" if place == 2 else "lines")
    return plain(figure, xaxis_title="step", yaxis_title="log-loss a token", height=320)
