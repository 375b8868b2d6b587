"""Why somebody likes a text, in a sentence: the question, and drafts that the person confirms or writes anew."""

from collections.abc import Sequence

from engine.backbone import Backbone
from engine.decode import decode
from engine.methods.base import Ask, Conditioning
from engine.summary import whole_sentences

MAX_CHARS = 600  # of the text that is asked about: a post may be a hundred times as long
QUESTION = 'In one short sentence, say what makes this funny to somebody who likes it:\n"{text}"'


def asked_why(text: str) -> Ask:
    """The question as a request, answered greedily; of a long text its beginning is asked about."""
    shown = " ".join(text.split())[:MAX_CHARS]
    return Ask(kind="task", payload=QUESTION.format(text=shown), temperature=0.0, max_new_tokens=40)


def drafts(lm: Backbone, texts: Sequence[str]) -> list[str]:
    """A draft for each text, by the model on this machine, which knows nothing of the person."""
    asks = [asked_why(text) for text in texts]
    told = [(Conditioning(({"role": "user", "content": ask.instruction()},)), ask) for ask in asks]
    return [whole_sentences(written[0].text) for written in decode(lm, told)]
