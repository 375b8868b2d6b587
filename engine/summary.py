"""A person's taste in a few sentences, written by the local model from the likes that stand for each topic."""

import re

from engine.backbone import Backbone
from engine.decode import decode
from engine.methods.base import Ask, Conditioning
from engine.profile import Profile, representatives

MIN_LIKES = 3
MAX_EXAMPLE_TOKENS = 40
PROMPT = (
    "Here are things that one person found funny:\n{examples}\n\n"
    "In two sentences, describe this person's sense of humor: the subjects and the kind of joke they enjoy. "
    "Start with: This person enjoys"
)


def summarize(lm: Backbone, profile: Profile) -> str:
    """Two sentences, greedy so that the same likes give the same summary; "" with fewer than MIN_LIKES likes."""
    if len(profile.liked) < MIN_LIKES:
        return ""
    texts = [lm.cut(item.text, MAX_EXAMPLE_TOKENS) for item in representatives(profile)]
    examples = "\n".join(f"- {' '.join(text.split())}" for text in texts)
    conditioning = Conditioning(({"role": "user", "content": PROMPT.format(examples=examples)},))
    ask = Ask(temperature=0.0, max_new_tokens=64)
    return whole_sentences(decode(lm, [(conditioning, ask)])[0][0].text)


def whole_sentences(text: str) -> str:
    """`text` without a last sentence that was cut off; all of it where no sentence ends."""
    ends = [
        match.end() for match in re.finditer(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\u300d]*(?=\s|$)", text)
    ]
    return text[: ends[-1]].strip() if ends else text.strip()
