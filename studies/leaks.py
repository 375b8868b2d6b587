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
REFUSALS = re.compile(
    r"\b(i'?m sorry|i can(no|')t (help|assist|provide|fulfill)|as an? (ai|language model))\b", re.IGNORECASE
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
        if REFUSALS.search(text):
            return "refusal"
        if TELLTALES.search(text):
            return "telltale"
        if not quotable.isdisjoint(_grams(text)):
            return "quotes the profile"
        if not set(_grams(ask.instruction())).isdisjoint(_grams(text)):
            return "quotes the instruction"
    if right is None:
        return None
    a, b = set(words(left)), set(words(right))
    if len(a & b) / len(a | b) > 0.8:
        return "near-duplicates"
    if max(len(left), len(right)) > MAX_LENGTH_RATIO * min(len(left), len(right)):
        return "length ratio"
    return None


def _grams(text: str) -> list[tuple[str, ...]]:
    said = words(text)
    return [tuple(said[i : i + QUOTE_WORDS]) for i in range(len(said) - QUOTE_WORDS + 1)]
