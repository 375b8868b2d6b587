"""Which pairs must not be shown: they would tell the method, or there is nothing to choose between.

A void pair is kept with its reason and never counted; another one takes its place in the schedule.
"""

import re

from engine.methods.base import Ask
from engine.profile import Profile

QUOTE_WORDS = 6  # this many words in a row are no coincidence
MIN_WORDS = 4
MAX_LENGTH_RATIO = 6.0
TELLTALES = re.compile(
    r"\b(since|as|because|knowing) (you|someone who|a person who)\b.{0,30}\b(likes?|loves?|enjoys?|fan)\b"
    r"|\bas a (big |true |real )?(fan|lover) of\b"
    r"|\b(your|my) (taste|sense of humou?r|profile|preferences)\b"
    r"|\bmakes (you|me) laugh\b|\bthis person\b",
    re.IGNORECASE,
)
# A text declines where it begins so and says what it will not do: jokes hold, or begin with, "I'm sorry, but you".
_SORRY = r"(?:(?:i'?m|i am)(?: \w+)? sorry|sorry|unfortunately|(?:my )?apologies|i apologi[sz]e)\b[^.!?\n]{0,40}?"
_CANNOT = r"\bi(?: can ?not| can't| could ?n't| won't| will not| must decline to|(?:'m| am) (?:not able|unable) to) "
_VERB = r"(?:help|provide|write|create|generate|tell|make|produce|share|offer|answer|complete|support|discuss|do)\b"
_ASKED = r"\b(?:jokes?|humou?r|requests?|questions?|posts?|content|material|information)\b"
DECLINES = re.compile(
    rf"[\W_]*(?:(?:{_SORRY})?{_CANNOT}(?:assist|fulfil+|comply|engage in|{_VERB}[^.!?\n]{{0,40}}?{_ASKED})\b"
    rf"|{_SORRY}{_CANNOT}{_VERB} (?:with )?(?:you|that|this|it|there)\b"
    rf"|{_SORRY}\bi (?:don't|do not) (?:understand|have (?:the ability|access|personal))\b"
    rf"|(?:i'?m|i am)(?: \w+)? sorry,?(?: but)? (?:that|this|it)(?:'s| is| would)\b"
    rf"|{_CANNOT}help with that\b|i (?:don't|do not) feel comfortable\b)",
    re.IGNORECASE,
)
# Of itself as a model a text may speak anywhere.
AS_MODEL = re.compile(
    r"\bas an? (?:ai|artificial intelligence) (?:language |chat )?(?:model|assistant|system|program)\b"
    r"|\bas an? (?:large )?language model\b|\bas an ai,? i\b|\b(?:i'm|i am) (?:just|only) an ai\b"
    r"|\b(?:i'm|i am) (?:just |only )?an? (?:(?:large |ai )?language model|ai model|ai assistant)\b",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def void_reason(left: str, right: str | None, ask: Ask, profile: Profile) -> str | None:
    """The first rule that the pair (or a single text) breaks, as a code; None if it may be shown."""
    told = [profile.summary, *(item.text for item in profile.liked)]
    quotable = {gram for text in told for gram in _grams(text)}
    for text in (left,) if right is None else (left, right):
        text = text.replace("\u2019", "'")
        if len(words(text)) < MIN_WORDS:
            return "empty"
        if DECLINES.match(text) or AS_MODEL.search(text):
            return "refusal"
        if TELLTALES.search(text):
            return "telltale"
        if not quotable.isdisjoint(_grams(text)):
            return "quotes the profile"
        if not set(_grams(ask.instruction())).isdisjoint(_grams(text)):
            return "quotes the instruction"
    if right is None:
        return None
    first, second = words(left), words(right)
    a, b = set(first), set(second)
    shorter = min(len(first), len(second))
    if len(a & b) / len(a | b) > 0.8 or first[:shorter] == second[:shorter]:  # one begins the other
        return "near-duplicates"
    if max(len(left), len(right)) > MAX_LENGTH_RATIO * min(len(left), len(right)):
        return "length ratio"
    return None


def _grams(text: str) -> list[tuple[str, ...]]:
    said = words(text)
    return [tuple(said[i : i + QUOTE_WORDS]) for i in range(len(said) - QUOTE_WORDS + 1)]
