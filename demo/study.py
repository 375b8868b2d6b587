"""A study's page: consent, instructions, likes, practice, trials, survey, code. One step at a time, and no names."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from demo import own_words, words
from demo.files import brought
from demo.visitor import cookie_of, in_words
from studies.importing import DAY
from studies.rooms import Room, Shown, Stage
from studies.store import Refused

PAIR = (("choose-left", "← A", "left"), ("choose-both", "↑ Both", "both"))
PAIR_MORE = (("choose-neither", "↓ Neither", "neither"), ("choose-right", "B →", "right"))
CARD = (("feed-dislike", "← Dislike", "dislike"), ("feed-like", "Like →", "like"))
FUNNY = (("feed-dislike", "← Not funny", "not_funny"), ("feed-like", "Funny →", "funny"))
ENDS = {1: "1  Not funny", 5: "5  Very funny"}
FIVE = tuple((f"mark-{n}", ENDS.get(n, f"{n}"), f"{n}") for n in range(1, 6))
AI = [("1  Sounds AI", "sounds_ai")]
IDS = {"PROLIFIC_PID": "SESSION_ID", "workerId": "assignmentId"}  # of Prolific and of MTurk: person, submission
PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"  # MTurk shows the page to somebody who has not accepted yet
STEPS = ("consent", "instructions", "import", "trial", "survey", "end")
MAX_VIEWED = 24 * 3600 * 1000  # milliseconds: a page says whatever it likes
AGAIN = 3.0  # seconds until the page asks again for a text that is being written


def ids_of(asked: Mapping[str, str]) -> tuple[str, str]:
    """Person and submission, as a platform wrote them into the link; a preview has no person."""
    for person, submission in IDS.items():
        if asked.get(person) or asked.get(submission):
            return asked.get(person, ""), asked.get(submission, "")
    return "", ""


def page(room: Room) -> gr.Blocks:
    """The whole page of one study."""
    study = room.study
    blocks: gr.Blocks
    with gr.Blocks(title=study.title, analytics_enabled=False, delete_cache=(3600, DAY)) as blocks:
        gr.HTML(words.heading(study.title))
        progress = gr.HTML(elem_id="study-progress")
        panels: dict[str, gr.Column] = {}
        with gr.Column(visible=False) as panels["consent"]:
            gr.Markdown(study.consent, elem_id="consent-text")
            with gr.Row(elem_classes="keys"):
                no = gr.Button("I do not take part", elem_id="consent-no")
                yes = gr.Button("I agree and take part", elem_id="consent-yes", variant="primary")
            with gr.Accordion("Go on where another device stopped", open=False, elem_id="resume"):
                code = gr.Textbox(label="Your code of eight letters", elem_id="resume-code")
                go_on = gr.Button("Go on", elem_id="resume-go")
        with gr.Column(visible=False) as panels["instructions"]:
            gr.Markdown(study.instructions, elem_id="instructions-text")
            understood = gr.Button("Begin", elem_id="begin", variant="primary")
        with gr.Column(visible=False) as panels["import"]:
            gr.Markdown(
                f"Bring {study.likes} of your likes or more: an export of Reddit, TikTok, Instagram or X, or a table."
            )
            file = gr.File(label="An export or a table", elem_id="import-file", height=140)
            found = gr.HTML(elem_id="import-found")
            save = gr.Button("Import", elem_id="import-save", variant="primary", visible=False)
            ticket = gr.State("")
        with gr.Column(visible=False, elem_id="trial") as panels["trial"]:
            task = gr.HTML(elem_id="task")
            with gr.Row(elem_id="pair", equal_height=True):
                with gr.Column(min_width=280):
                    left = gr.HTML(elem_id="left-text")
                    left_ai = gr.CheckboxGroup(AI, elem_id="left-marks", show_label=False, container=False)
                with gr.Column(min_width=280) as right_side:
                    right = gr.HTML(elem_id="right-text")
                    right_ai = gr.CheckboxGroup(
                        [("2  Sounds AI", "sounds_ai")], elem_id="right-marks", show_label=False, container=False
                    )
            rows: dict[str, gr.Row] = {}
            marks = FIVE if study.scale == "five" else FUNNY
            buttons = []
            for kind, choices in (("pair", PAIR + PAIR_MORE), ("card", CARD), ("mark", marks)):
                with gr.Row(elem_classes="keys", visible=False) as rows[kind]:
                    for name, label, said in choices:
                        elem_id = name if kind != "mark" or study.scale == "five" else f"{name}-mark"
                        buttons.append((gr.Button(label, elem_id=elem_id, variant="primary"), said))
            with gr.Row(elem_classes="keys", visible=False) as rows["skip"]:
                buttons.append((gr.Button("S  Skip", elem_id="skip-pair"), "skip"))
        with gr.Column(visible=False) as panels["survey"]:
            asked: list[gr.Radio | gr.Textbox] = [
                gr.Radio(list(question.options), label=question.text, elem_id=f"survey-{question.id}")
                if question.options
                else gr.Textbox(label=question.text, elem_id=f"survey-{question.id}", max_length=2000)
                for question in study.survey
            ]
            done = gr.Button("Hand in", elem_id="survey-done", variant="primary")
        with gr.Column(visible=False) as panels["end"]:
            end = gr.HTML(elem_id="end")
            gr.Markdown(study.debriefing, elem_id="debriefing", visible=bool(study.debriefing))
        stop = gr.Button("Stop here", elem_id="leave", size="sm", visible=False)
        trial = gr.Textbox(visible="hidden", elem_id="trial-id", show_label=False)
        choice = gr.Textbox(visible="hidden", elem_id="trial-choice", show_label=False)
        viewed = gr.Number(visible="hidden", elem_id="trial-viewed", show_label=False)
        hidden = gr.Checkbox(visible="hidden", elem_id="trial-hidden", show_label=False)
        again = gr.Timer(AGAIN, active=False)

    texts = [task, left, right, left_ai, right_ai, right_side]
    shown = [progress, *panels.values(), *texts, *rows.values(), end, stop, trial, again]

    def laid_out(stage: Stage, session: str) -> list[Any]:
        """Every part of the page as it should be now, in one reply."""
        there: Shown | None = None
        step = "trial" if stage.step in ("likes", "practice", "trials") else stage.step
        if step == "trial":
            there = room.show(session, 0.0)
        kind = there.kind if there else ""
        return [
            words.progress(stage),
            *(gr.Column(visible=name == step) for name in STEPS),
            words.task(stage, kind),
            words.trial(there, "left") if there else words.text("The next one is being written. A moment."),
            words.trial(there, "right") if there else "",
            gr.CheckboxGroup(value=[], visible=stage.step != "likes" and kind in ("pair", "card")),
            gr.CheckboxGroup(value=[]),
            gr.Column(visible=kind == "pair"),
            *(gr.Row(visible=name == kind or (name == "skip" and there is not None)) for name in rows),
            words.end(stage),
            gr.Button(visible=step not in ("consent", "end")),
            there.id if there else "",
            gr.Timer(active=step == "trial" and there is None),
        ]

    def session_of(request: gr.Request) -> str:
        """One browser may take part in several studies, and is somebody else in each."""
        return f"{room.id}/{cookie_of(request)}"

    @in_words
    def look(request: gr.Request) -> list[Any]:
        session, (person, submission) = session_of(request), ids_of(dict(request.query_params))
        if submission == PREVIEW:
            person = submission = ""
        stage = room.arrive(session, person, submission)
        return laid_out(stage, session)

    @in_words
    def look_again(request: gr.Request) -> list[Any]:
        session = session_of(request)
        return laid_out(room.stage(session), session)

    def answering(agrees: bool) -> Any:
        @in_words
        def consent(request: gr.Request) -> list[Any]:
            session, (person, submission) = session_of(request), ids_of(dict(request.query_params))
            if submission == PREVIEW:
                raise Refused("this is a preview: accept the task first, then this page opens anew")
            return laid_out(room.consent(session, agrees, person, submission), session)

        return consent

    @in_words
    def resume(code: str | None, request: gr.Request) -> list[Any]:
        session = session_of(request)
        return laid_out(room.resume(session, code or "", *ids_of(dict(request.query_params))), session)

    @in_words
    def begin(request: gr.Request) -> list[Any]:
        session = session_of(request)
        return laid_out(room.understood(session), session)

    @in_words
    def look_into(path: str | None, request: gr.Request) -> tuple[str, str, gr.Button]:
        if not path:
            return "", "", gr.Button(visible=False)
        preview = room.look_into(session_of(request), brought(request, path))
        return preview.ticket, own_words.preview(preview), gr.Button(visible=True)

    @in_words
    def bring(ticket: str, request: gr.Request) -> list[Any]:
        session = session_of(request)
        stage = room.bring(session, ticket)
        return [words.note(stage.told), gr.File(value=None), gr.Button(visible=False), *laid_out(stage, session)]

    @in_words
    def vote(
        trial: str,
        choice: str,
        viewed: float | None,
        hidden: bool,
        left: list[str],
        right: list[str],
        request: gr.Request,
    ) -> list[Any]:
        session = session_of(request)
        marks = [("left", mark) for mark in left or []] + [("right", mark) for mark in right or []]
        seen = int(min(max(0.0, viewed or 0.0), MAX_VIEWED))
        stage = room.vote(session, trial, choice, marks, seen, bool(hidden))
        return laid_out(stage, session)

    @in_words
    def hand_in(request: gr.Request, *answers: Any) -> list[Any]:
        session = session_of(request)
        said = {question.id: value for question, value in zip(study.survey, answers, strict=True)}
        return laid_out(room.survey(session, said), session)

    @in_words
    def leave(request: gr.Request) -> list[Any]:
        session = session_of(request)
        return laid_out(room.leave(session), session)

    quiet: dict[str, Any] = {"queue": False, "api_visibility": "undocumented", "show_progress": "hidden"}
    with blocks:
        blocks.load(look, None, shown, api_name="look", **quiet)
        again.tick(look_again, None, shown, api_name="again", **quiet)
        yes.click(answering(True), None, shown, api_name="agree", **quiet)
        no.click(answering(False), None, shown, api_name="disagree", **quiet)
        go_on.click(resume, code, shown, api_name="resume", **quiet)
        code.submit(resume, code, shown, api_name="resume_too", **quiet)
        understood.click(begin, None, shown, api_name="begin", **quiet)
        file.upload(look_into, file, [ticket, found, save], api_name="look_into", **quiet)
        save.click(bring, ticket, [found, file, save, *shown], api_name="bring", **quiet)
        for number, (button, said) in enumerate(buttons):
            button.click(
                vote,
                [trial, choice, viewed, hidden, left_ai, right_ai],
                shown,
                js=f"(id, c, v, h, l, r) => [id, '{said}', ...window.palateSeen(), l, r]",
                api_name="vote" if number == 0 else f"vote_{number}",
                **quiet,
            )
        done.click(hand_in, list(asked), shown, api_name="hand_in", **quiet)
        stop.click(
            leave,
            None,
            shown,
            js="() => { if (!confirm('Stop here? What you judged counts.')) throw new Error('going on'); return []; }",
            api_name="leave",
            **quiet,
        )
    return blocks
