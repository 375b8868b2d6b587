"""Results: which arm wins, how sure that is, and how often each was liked, disliked or taken for a machine."""

import gradio as gr
import pandas as pd
import plotly.graph_objects as go

from demo.visitor import at, in_words
from studies.house import House
from studies.pairs import title
from studies.ratings import Rate, Standing

ENOUGH = 10  # votes on an arm below which its interval says more than the votes do
COLUMNS = ["who wrote it", "strength", "95 % interval", "won-lost-tied", "liked", "disliked", "sounds AI"]
WIDTHS: list[str | int] = ["24%", "11%", "15%", "14%", "12%", "12%", "12%"]


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: nothing is fetched before the person opens it."""
    note = gr.Markdown(elem_id="results-note")
    table = gr.Dataframe(
        elem_id="results-table", headers=COLUMNS, column_widths=WIDTHS, interactive=False, wrap=True, show_label=False
    )
    plot = gr.Plot(elem_id="results-plot", show_label=False, visible=False)

    @in_words
    def results(request: gr.Request) -> tuple[str, pd.DataFrame, gr.Plot]:
        studio, _ = at(house, request)
        standings, rates = studio.standings(), studio.rates()
        figure = as_plot(standings)
        return headline(standings), as_table(standings, rates), gr.Plot(figure, visible=figure is not None)

    opened.select(results, None, [note, table, plot], api_visibility="private")


def headline(standings: list[Standing]) -> str:
    """How much these votes can carry, in one line."""
    votes = sum(s.wins + s.losses + s.ties for s in standings) // 2
    if not votes:
        return "No votes yet: judge a few blind pairs first."
    thin = sum(s.wins + s.losses + s.ties < ENOUGH for s in standings)
    much = f" {thin} of {len(standings)} have under {ENOUGH} votes: too few for an interval." if thin else ""
    return (
        f"**{votes} vote{'s' * (votes > 1)}.** Strength is in log-odds against the average: 0 is average, "
        f"+0.7 wins two of three.{much} Rates are of the votes that were not skipped."
    )


def as_table(standings: list[Standing], rates: list[Rate]) -> pd.DataFrame:
    """One row an arm, strongest first."""
    by_arm = {(rate.arm, rate.kind): rate for rate in rates}
    rows = []
    for s in standings:
        told = [_percent(by_arm[s.arm, kind]) for kind in ("like", "dislike", "sounds_ai")]
        enough = s.wins + s.losses + s.ties >= ENOUGH
        interval = f"{s.low:+.2f} to {s.high:+.2f}" if enough else "too few votes"
        rows.append([title(s.arm), f"{s.strength:+.2f}", interval, f"{s.wins}-{s.losses}-{s.ties}", *told])
    return pd.DataFrame(rows, columns=COLUMNS)


def as_plot(standings: list[Standing]) -> go.Figure | None:
    """Strengths with their intervals, where there are votes enough for one."""
    solid = [s for s in reversed(standings) if s.wins + s.losses + s.ties >= ENOUGH]
    if not solid:
        return None
    up, down = [s.high - s.strength for s in solid], [s.strength - s.low for s in solid]
    bars = {"type": "data", "symmetric": False, "array": up, "arrayminus": down}
    names = [title(s.arm) for s in solid]
    figure = go.Figure(go.Scatter(x=[s.strength for s in solid], y=names, error_x=bars, mode="markers", marker_size=11))
    figure.add_vline(x=0, line_dash="dot", line_color="gray")
    figure.update_layout(
        xaxis_title="strength, log-odds against the average", margin_l=10, height=120 + 40 * len(solid)
    )
    return figure


def _percent(rate: Rate) -> str:
    return f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})"
