"""Feed: one card at a time; a like or dislike teaches at once."""

import gradio as gr

from demo import words
from demo.visitor import at, in_words
from studies.house import House


def tab(house: House, page: gr.Blocks) -> None:
    """Lay the tab out and wire it."""
    shown = gr.HTML(elem_id="feed-card", value=words.text("..."))
    with gr.Row(elem_classes="keys"):
        dislike = gr.Button("← Dislike", elem_id="feed-dislike", variant="secondary")
        skip = gr.Button("S  Skip", elem_id="feed-skip", variant="secondary")
        undo = gr.Button("U  Undo", elem_id="feed-undo", variant="secondary")
        like = gr.Button("Like →", elem_id="feed-like", variant="primary")
    note = gr.HTML(elem_id="feed-note")
    why = gr.Textbox(
        visible=False,
        elem_id="feed-why",
        label="Why did you like that one? If you want to say, Enter keeps it.",
    )
    liked = gr.Textbox(visible="hidden", elem_id="feed-liked", show_label=False)  # the card that a reason is about
    card_id = gr.Textbox(visible="hidden", elem_id="feed-id", show_label=False)
    choice = gr.Textbox(visible="hidden", elem_id="feed-choice", show_label=False)

    @in_words
    def next_card(request: gr.Request) -> tuple[str, str, str]:
        studio, session = at(house, request)
        card = studio.next_card(session)
        return card.id if card else "", words.card(card), words.taste(studio.taste(session))

    @in_words
    def react(card: str, choice: str, request: gr.Request) -> tuple[str, str, str]:
        studio, session = at(house, request)
        was = studio.react(session, card, choice)
        following = studio.next_card(session)
        note = words.note(f"That one was {was.source}.") + words.taste(studio.taste(session))
        return following.id if following else "", words.card(following), note

    def ask_why(card: str) -> gr.Textbox:
        return gr.Textbox(value="", visible=bool(card))

    @in_words
    def say_why(card: str, said: str, request: gr.Request) -> tuple[str, gr.Textbox]:
        studio, session = at(house, request)
        studio.say_why(session, card, said)
        return words.note("Noted. The Train page has all you said."), gr.Textbox(value="", visible=False)

    @in_words
    def undo_card(request: gr.Request) -> tuple[str, str, str, str]:
        studio, session = at(house, request)
        card = studio.take_back_card(session)
        told = words.taste(studio.taste(session))
        return card.id if card else "", words.card(card), told, ""

    table = [card_id, shown, note]
    page.load(next_card, None, table, queue=False, api_name="next_card", show_progress="hidden")
    # in the browser alone, and before the card changes: `react` waits for nothing and answers nothing more
    like.click(None, card_id, liked, js="(card) => card", queue=False, api_visibility="private")
    for button in (dislike, skip):
        button.click(None, None, liked, js="() => ''", queue=False, api_visibility="private")
    liked.change(ask_why, liked, why, queue=False, api_visibility="private", show_progress="hidden")
    for button, said, visible in ((like, "like", "public"), (dislike, "dislike", "private"), (skip, "skip", "private")):
        button.click(
            react,
            [card_id, choice],
            table,
            js=f"(card, choice) => [card, '{said}']",
            api_name="react" if visible == "public" else None,
            api_visibility=visible,
            queue=False,
            show_progress="hidden",
        )
    why.submit(say_why, [liked, why], [note, why], queue=False, api_visibility="private", show_progress="hidden")
    undo.click(undo_card, None, [*table, liked], queue=False, api_visibility="private", show_progress="hidden")
