"""A person's taste in a few sentences, written by the local model from the likes that stand for each topic."""

from engine.backbone import Backbone
from engine.decode import decode
from engine.methods.base import Ask, Conditioning
from engine.profile import Profile

MIN_LIKES = 3
MAX_EXAMPLES = 6
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
    # one example of each topic, then the second ones, so that a large topic does not drown the others
    by_rank = [topic.examples[rank] for rank in range(3) for topic in profile.topics if rank < len(topic.examples)]
    texts = [lm.text(lm.tokens(item.text)[:MAX_EXAMPLE_TOKENS]) for item in by_rank[:MAX_EXAMPLES]]
    examples = "\n".join(f"- {' '.join(text.split())}" for text in texts)
    conditioning = Conditioning(({"role": "user", "content": PROMPT.format(examples=examples)},))
    ask = Ask(temperature=0.0, max_new_tokens=64)
    return whole_sentences(decode(lm, [(conditioning, ask)])[0][0].text)


def whole_sentences(text: str) -> str:
    """`text` without a last sentence that was cut off; all of it where no sentence ends."""
    end = max(text.rfind(mark) for mark in ".!?\u2026")
    closing = end + 1
    while end >= 0 and closing < len(text) and text[closing] in "\"'\u201d\u2019)":
        closing += 1
    return text[:closing].strip() if end >= 0 else text.strip()
