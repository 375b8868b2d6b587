"""What all plots of the page share: they lie on the page's own background, light or dark."""

from typing import Any

import plotly.graph_objects as go

GREY, LINES, CLEAR = "#767676", "rgba(128,128,128,.25)", "rgba(0,0,0,0)"  # grey reads on white and on near-black


def plain(figure: go.Figure, **layout: Any) -> go.Figure:
    figure.update_layout(paper_bgcolor=CLEAR, plot_bgcolor=CLEAR, font_color=GREY, margin_l=10, margin_t=20, **layout)
    return figure.update_xaxes(gridcolor=LINES).update_yaxes(gridcolor=LINES)
