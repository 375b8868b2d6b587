"""Many people's reactions -> profiles and examples to learn from. A target never sits in its own profile."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from collectors.item import read_reactions
from engine import encoder
from engine.methods.base import Ask
from engine.profile import Profile, build, narrowed
from engine.train import Example

LEAST_LIKES = 3  # one is the target, two stay
WORD = re.compile(r"[a-z]{4,}")
COMMON = 3  # texts a word must stand in, to be a topic and not a name


def people(path: Path) -> list[Profile]:
    """The profiles of a reactions file, without topics, people with too few likes left out; raises CollectError.

    All texts are encoded together once: the same jokes stand in many profiles.
    """
    known = {user: [(i, s) for i, s in reactions if s] for user, reactions in read_reactions(path)}
    texts = list(dict.fromkeys(item.text for reactions in known.values() for item, _ in reactions))
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))

    def remembered(asked: Sequence[str]) -> np.ndarray:
        return np.stack([vectors[text] for text in asked])

    profiles = (
        build(user, reactions, encode=remembered, topics=False) for user, reactions in known.items() if reactions
    )
    return [profile for profile in profiles if len(profile.liked) >= LEAST_LIKES]


def examples(profiles: Iterable[Profile], per_person: int, seed: int = 0, most: float = float("inf")) -> list[Example]:
    """For each person up to `per_person` likes as targets, each with the profile that leaves it out; no text is a
    target more than `most` times: what everybody likes would be learned by heart.

    Every second request names a word of the target as its topic, as requests in the app do; the others leave it open,
    so that only the profile can tell what this person would like.
    """
    profiles = list(profiles)
    texts = {item.text for profile in profiles for item in profile.items}
    count = Counter(word for text in texts for word in set(WORD.findall(text.lower())))
    used: Counter[str] = Counter()
    made = []
    for profile in profiles:
        dice = random.Random(int(hashlib.sha256(f"{seed}|{profile.user}".encode()).hexdigest(), 16))
        likes = [i for i, s in enumerate(profile.signals) if s.sign > 0 and used[profile.items[i].text] < most]
        for turn, target in enumerate(dice.sample(likes, min(per_person, len(likes)))):
            text = profile.items[target].text
            used[text] += 1
            rest = [i for i, item in enumerate(profile.items) if item.text != text]
            topic = _topic(text, count) if turn % 2 else None
            made.append(Example(narrowed(profile, rest), Ask(payload=topic or "anything"), text))
    return made


def _topic(text: str, count: Counter[str]) -> str | None:
    """The rarest word of the text that still stands in a few others."""
    words = [word for word in WORD.findall(text.lower()) if count[word] >= COMMON]
    return min(words, key=lambda word: (count[word], word), default=None)
