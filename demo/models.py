"""Models: which one writes, which others fit here and under what licence, a change without a restart, the sampler."""

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo import words
from demo.visitor import COOKIE, at, each_in_words, in_words
from studies.house import House
from studies.models import Change, Models, Offer, Offers
from studies.store import Refused

QUANTIZE = [
    ("as it fits (auto)", "auto"),
    ("not quantized", "none"),
    ("8 bits (int8)", "int8"),
    ("4 bits (nf4)", "nf4"),
]
TEXT = """
### Another one
Larger models write better jokes and need more memory. What is not on this machine yet is fetched from huggingface.co
once, into its usual cache; nothing of yours goes there. 8 and 4 bits need less memory; on a CPU they are slower.
Your likes, votes and fits stay, and fits belong to the model they were made for: they are there again when it is.
"""
SHORTENED = """
Nothing is cut without a word. A prompt that does not fit into the window is refused with a message. Likes that stand
as examples in a prompt share 160 tokens: a shortened one ends in "...", and after the vote you are told how many were.
What sums your taste up is drawn from the first 40 tokens of at most six likes, a fit learns from the first 64 tokens of
each, and of a text that you bring the first 20,000 characters are kept.
"""


def tab(house: House, opened: gr.Tab) -> None:
    """Lay the tab out and wire it: models are named when the person asks for them, not before."""
    now = gr.HTML(elem_id="models-now")
    if house.models is None:
        opened.select(_whose(house), None, now, queue=False, api_visibility="private", show_progress="hidden")
    else:
        _choices(house, house.models, opened, now)


def _whose(house: House) -> Any:
    @in_words
    def whose(request: gr.Request) -> str:
        studio, _ = at(house, request)
        told = words.text(studio.engine_line())
        return f"<h3>The model that writes</h3>{told}{words.note('Whoever runs this site chooses the model.')}"

    return whose


def _choices(house: House, models: Models, opened: gr.Tab, now: gr.HTML) -> None:
    with gr.Row(elem_classes="keys"):
        best = gr.Button(visible=False, elem_id="model-best", variant="primary")
    gr.Markdown(TEXT)
    with gr.Row():
        choice = gr.Dropdown([], label="Model", elem_id="model-choice", scale=2, min_width=300)
        quantize = gr.Dropdown(QUANTIZE, value="auto", label="Weights", elem_id="model-quantize", min_width=200)
    other = gr.Textbox(
        label="Or any other chat model: its name on huggingface.co, or a folder on this machine",
        placeholder="owner/name, or a folder",
        elem_id="model-other",
    )
    about = gr.HTML(elem_id="model-about")
    with gr.Row(elem_classes="keys"):
        use = gr.Button("Use this model", elem_id="model-use", variant="primary")
        stop = gr.Button("Stop", elem_id="model-stop", variant="stop")
    note = gr.HTML(elem_id="model-note")
    table = gr.HTML(elem_id="models-table")
    gr.Markdown(
        "### How it draws its words\nThe same for every way of writing, so a comparison stays fair. It holds from the "
        "next text on; pairs that wait and were written otherwise are not shown. Studies have their own."
    )
    preset = gr.Radio([], elem_id="preset", show_label=False)
    gr.Markdown(SHORTENED)
    loaded = gr.State("")  # what is the best here, for its button

    @in_words
    def show(chosen: str | None, weights: str, request: gr.Request) -> tuple[Any, ...]:
        at(house, request)
        told = models.offers(weights)  # type: ignore[arg-type]
        choices = [(label(offer), offer.name) for offer in told.offers]
        known = {name for _, name in choices}
        current = next((offer.name for offer in told.offers if offer.current), "")
        value = chosen if chosen in known else told.best.name if told.best else current
        shown = f"Use {told.best.title}: {size(told.best)}" if told.best else ""
        return (
            in_use(told),
            gr.Button(shown, visible=told.best is not None),
            told.best.name if told.best else "",
            gr.Dropdown(choices, value=value),
            as_table(told),
            gr.Radio([(f"{name}: {_sampler(name, models)}", name) for name in models.presets()], value=told.preset),
        )

    @in_words
    def look(chosen: str | None, weights: str, typed: str, request: gr.Request) -> str:
        at(house, request)
        if typed.strip():
            return words.note("What it needs is known once its first files are here; too large a one is not loaded.")
        offers = models.offers(weights).offers  # type: ignore[arg-type]
        return next((describe(offer) for offer in offers if offer.name == (chosen or "")), "")

    @each_in_words
    def change(chosen: str | None, weights: str, typed: str, request: gr.Request) -> Iterator[str]:
        _from_here(request)
        at(house, request)
        for told in models.use(typed.strip() or chosen or "", weights):  # type: ignore[arg-type]
            yield progress(told)

    def change_to_best(name: str, weights: str, request: gr.Request) -> Iterator[str]:
        yield from change(name, weights, "", request)

    def watch() -> Iterator[str]:
        for told in models.watch():
            yield progress(told)

    @in_words
    def end(request: gr.Request) -> None:
        _from_here(request)
        models.stop()

    @in_words
    def sample(name: str, request: gr.Request) -> None:
        _from_here(request)
        models.use_preset(name)

    quiet: Any = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    slow: Any = {"api_visibility": "private", "show_progress": "hidden"}
    shown = [now, best, loaded, choice, table, preset]
    asked = [choice, quantize, other]
    opened.select(show, [choice, quantize], shown, **quiet).then(watch, None, note, **slow)
    quantize.change(show, [choice, quantize], shown, **quiet).then(look, asked, about, **quiet)
    choice.change(look, asked, about, **quiet)
    other.change(look, asked, about, **quiet)
    for changed in (
        use.click(change, asked, note, **slow),
        best.click(change_to_best, [loaded, quantize], note, **slow),
    ):
        changed.then(lambda: "", None, other, **quiet).then(show, [choice, quantize], shown, **quiet)
    stop.click(end, None, None, **quiet)
    preset.input(sample, preset, None, **quiet)


def _from_here(request: gr.Request) -> None:
    """Another site's page can call this as well, but not with the cookie."""
    if COOKIE not in dict(request.cookies):
        raise Refused("a model is changed from this page only: reload it and try again")


def _sampler(name: str, models: Models) -> str:
    ask = models.presets()[name]
    return f"temperature {ask.temperature:g}, top p {ask.top_p:g}, top k {ask.top_k}, {ask.max_new_tokens} tokens"


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def parameters(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count > 995e6 else f"{count / 1e6:.0f}M"


def size(offer: Offer) -> str:
    """What of it is still to be fetched."""
    if offer.here:
        return "on this machine"
    if offer.fetched:
        return f"{gigabytes(offer.fetched)} of {gigabytes(offer.download)} fetched"
    return f"{gigabytes(offer.download)} to fetch"


def label(offer: Offer) -> str:
    return f"{offer.title}: {'in use' if offer.current else offer.estimate.verdict}"


def in_use(told: Offers) -> str:
    """Which model writes, and how large its window is."""
    line = words.text(told.current)
    memory = f"{gigabytes(told.free)} of memory are free, and {gigabytes(told.held)} more once it is put down."
    window = f"It reads {told.context:,} tokens at once. {memory}"
    notice = words.note(told.notice) if told.notice else ""
    better = ""
    if told.best:
        better = words.note(
            "It is small, and its jokes show it. The largest that fits here, asks for no account and is not too slow "
            f"is {told.best.title}: {parameters(told.best.estimate.model.parameters)} parameters, {size(told.best)}."
        )
    return f"<h3>The model that writes</h3>{notice}{line}{words.note(window)}{better}"


def describe(offer: Offer) -> str:
    """All that is known of one model before it is used."""
    model, here = offer.estimate.model, offer.estimate
    told = f"{parameters(model.parameters)} parameters, {size(offer)}, runs as {here.runs_as}, {here.words}."
    told += f" It reads {model.context:,} tokens at once."
    link = f"https://huggingface.co/{model.name}"
    gate = (
        "Its owner wants the licence accepted first: open its page, accept it there, and give a token by HF_TOKEN or "
        "<code>hf auth login</code> before you start Palate. "
        if model.gated and not offer.here
        else ""
    )
    address = html.escape(link)
    page = f'<a href="{address}" target="_blank" rel="noopener noreferrer">{address}</a>'
    return (
        f'<div class="about"><p>{html.escape(told)}</p><p>Licence: {html.escape(model.licence)}. {gate}{page}</p></div>'
    )


def progress(now: Change) -> str:
    """How far a change is, or what came of it."""
    if now.told:
        return words.note(now.told)
    if now.step == "loading":
        return words.note(f"{now.title} is being loaded.")
    if not now.of:
        return words.note(f"{now.title}: asking huggingface.co.")
    bar = f'<progress max="{now.of}" value="{now.done}" aria-label="progress"></progress>'
    left = f", about {now.seconds_left:.0f} s left" if now.seconds_left else ""
    told = f"{now.title}: {now.done / 1e9:.2f} of {now.of / 1e9:.2f} GB are here{left}."
    return f'<div class="note">{html.escape(told)} {bar}</div>'


HEADS = ("model", "size", "to fetch", "licence", "runs as", "memory", "verdict")


def as_table(told: Offers) -> str:
    """Every model with what it needs; on a phone each row becomes a few lines."""
    head = "".join(f"<th>{name}</th>" for name in HEADS)
    rows = []
    for offer in sorted(told.offers, key=lambda offer: offer.estimate.model.parameters):
        here = offer.estimate
        mark = " (in use)" if offer.current else ""
        cells = (
            offer.title + mark,
            parameters(here.model.parameters),
            size(offer).removesuffix(" to fetch"),
            here.model.licence + (", to be accepted" if here.model.gated else ""),
            here.runs_as,
            f"{here.needs / 1e9:.1f} of {here.free / 1e9:.1f} GB",
            here.verdict,
        )
        row = "".join(
            f'<td data-head="{head}">{html.escape(cell)}</td>' for head, cell in zip(HEADS, cells, strict=True)
        )
        kind = here.verdict.replace(" ", "-")
        rows.append(f'<tr class="{kind}{" current" if offer.current else ""}">{row}</tr>')
    region = '<div class="models" tabindex="0" role="region" aria-label="All models">'
    return f"{region}<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
