"""What a person's past says in a prompt: which items are found for a question, and in which words they stand there.

Words, order (best first) and budget are LaMP's own (arXiv 2304.11406, section 3.2 and appendix; the budget as in its
code): the window less the question, which may take six tenths of it, is shared evenly, and what one item leaves the
next may use. The words for LongLaMP are ours, in the same pattern.
"""

import logging
from collections.abc import Sequence

import numpy as np

from engine.backbone import Backbone
from engine.decode import decode
from engine.encoder import encode
from engine.methods.base import Ask, Conditioning
from engine.summary import whole_sentences
from studies.benchmarks.lamp_files import Past, Question, Task

RETRIEVERS = ("bm25", "dense", "recency")
FRAMES = {
    "LaMP_1": '"{answer}"',
    "LaMP_2": 'the tag for the movie: "{text}" is "{answer}" ',
    "LaMP_2N": 'the category for the article: "{text}" is "{answer}" ',
    "LaMP_3": '{answer} is the score for "{text}" ',
    "LaMP_4": '"{answer}" is the title for "{text}" ',
    "LaMP_5": '"{answer}" is the title for "{text}" ',
    "LaMP_7": '"{text}" ',
    "LongLaMP_abstract": '"{text}" is the abstract for the title "{answer}" ',
    "LongLaMP_review": '"{text}" is the review with the summary "{answer}" ',
    "LongLaMP_topic": '"{text}" is the post with the summary "{answer}" ',
    "writers": '"{answer}" is the answer to "{text}" ',
}
CLOSINGS = {"LaMP_7": " are written by a person. Following the given patterns "}
PATTERNED = ("LaMP_5", "LongLaMP", "writers")
CLOSINGS |= {name: ". Following the given patterns " for name in FRAMES if name.startswith(PATTERNED)}
CLOSING, JOINT = ". ", ", and "
CUT = {"LaMP_1": "answer", "writers": "answer"}  # which part of an item gives way, if it is not the text

SUMMARY = (
    "Here is what one person answered before, each answer with what it was about:\n{lines}\n\n"
    "In two sentences, describe which answers this person gives, and to what. Start with: This person"
)
MOST_SUMMED, SUMMED_TOKENS = 12, 40  # items that a summary is made of, the latest, and tokens of each


def nearest(retriever: str, question: Question, task: Task) -> list[Past]:
    """The items of a question's past, the best first. What is searched with is the payload: the instruction would find
    the same items for all."""
    past = question.past
    if retriever == "recency" or len(past) < 2:
        return list(reversed(past))
    titled = task.kind == "text" or task.name == "LaMP_1"  # a label is no text to search in
    corpus = [f"{item.answer} {item.text}".strip() if titled else item.text for item in past]
    score = _bm25 if retriever == "bm25" else _cosines
    scores = score(corpus, question.payload)
    return [past[n] for n in np.argsort(-scores, kind="stable")]


def _bm25(corpus: Sequence[str], query: str) -> np.ndarray:
    """BM25 of each text (N,) by bm25s, as Lucene has it: in a profile of ten a word of six items must not count less
    than nothing."""
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)
    texts = bm25s.tokenize(list(corpus), stopwords=None, return_ids=False, show_progress=False)
    words = bm25s.tokenize([query], stopwords=None, return_ids=False, show_progress=False)[0]
    if not any(texts) or not words:
        return np.zeros(len(corpus), np.float32)
    index = bm25s.BM25(method="lucene")
    index.index(texts, show_progress=False)
    return np.asarray(index.get_scores(words))


def _cosines(corpus: Sequence[str], query: str) -> np.ndarray:
    found: np.ndarray = encode(corpus) @ encode([query])[0]
    return found


def told(lm: Backbone, question: Question, items: Sequence[Past], task: Task, window: int) -> str:
    """The whole request: the items, the best first, then the question; in at most about `window` tokens."""
    for share in (0.6, 0.5, 0.4, 0.3, 0.2, 0.1):  # a long question gives way until the frames fit, as in LaMP's code
        cut = lm.cut(question.input, window if not items else int(share * window))
        shown = _shown(lm, items, task, window - len(lm.tokens(cut))) if items else None
        if shown is None:
            continue
        if task.name == "LaMP_1":
            head, title, tail = cut.partition("title")
            return f"{head}{title}{JOINT}{JOINT.join(shown)}{tail}"
        return f"{JOINT.join(shown)}{CLOSINGS.get(task.name, CLOSING)}{cut}"
    return lm.cut(question.input, window)


def _shown(lm: Backbone, items: Sequence[Past], task: Task, budget: int) -> list[str] | None:
    """Each item in its frame, cut to its share of the budget; None where a frame alone exceeds it."""
    frame, key = FRAMES[task.name], CUT.get(task.name, "text")
    closing = "" if task.name == "LaMP_1" else CLOSINGS.get(task.name, CLOSING)
    fair = (budget - len(lm.tokens(closing)) - len(lm.tokens(JOINT)) * (len(items) - 1)) // len(items)
    shown, saved = [], 0
    for item in items:
        parts = {"text": item.text, "answer": item.answer}
        needed = len(lm.tokens(frame.format(**parts | {key: " "})))
        room = fair + saved - needed
        if room < 1:
            return None
        short = lm.cut(parts[key], room)
        saved += fair - needed - len(lm.tokens(short))
        shown.append(frame.format(**parts | {key: short}))
    return shown


def summary(lm: Backbone, past: Sequence[Past]) -> str:
    """Two sentences about a person, by the model from their latest items, greedily; "" without any."""
    if not past:
        return ""
    lines = "\n".join(f"- {item.answer}: {lm.cut(item.text, SUMMED_TOKENS)}" for item in past[-MOST_SUMMED:])
    asked = Conditioning(({"role": "user", "content": SUMMARY.format(lines=lines)},))
    ask = Ask(temperature=0.0, repetition_penalty=1.0, max_new_tokens=64)
    return whole_sentences(decode(lm, [(asked, ask)])[0][0].text)
