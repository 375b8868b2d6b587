"""A person's taste as a value: what they reacted to, its topics, its summary and its vectors."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from collectors.item import Item, Signal
from engine import encoder
from engine.topics import unrelated

Encode = Callable[[Sequence[str]], NDArray[np.float32]]

MAX_SIGNALS = 2_000  # the latest count: encoding more takes minutes on two cores, and taste drifts
REPRESENTATIVES = 6
EXAMPLES = 3  # items that stand for a topic
LABEL_CANDIDATES, LABEL_WORDS = 15, 3


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing a person likes: words that set it apart, the likes nearest its centre, its share of all likes."""

    label: str
    examples: tuple[Item, ...]
    weight: float


@dataclass(frozen=True, eq=False)
class Profile:
    """`items`, `signals` and `vectors` (N, E) are aligned, oldest first; `vector` (E,) is the likes' mean.

    `digest` names the evidence: it covers signals and encoder, never the summary written from them.
    """

    user: str
    items: tuple[Item, ...] = ()
    signals: tuple[Signal, ...] = ()
    topics: tuple[Topic, ...] = ()
    summary: str = ""
    summary_evidence: tuple[str, ...] = ()  # ids of the likes that its writer named; () where it names none
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, encoder.WIDTH), np.float32))
    vector: NDArray[np.float32] = field(default_factory=lambda: np.zeros(encoder.WIDTH, np.float32))
    digest: str = ""

    @cached_property
    def liked(self) -> tuple[Item, ...]:
        """Liked items, oldest first."""
        return tuple(item for item, signal in zip(self.items, self.signals, strict=True) if signal.sign > 0)

    @cached_property
    def picked(self) -> tuple[Item, ...]:
        """The likes that the person picked as their best, oldest first."""
        return tuple(item for item, s in zip(self.items, self.signals, strict=True) if s.sign > 0 and s.picked)

    @cached_property
    def disliked(self) -> tuple[Item, ...]:
        """Disliked items, oldest first."""
        return tuple(item for item, signal in zip(self.items, self.signals, strict=True) if signal.sign < 0)


def digest(signals: Sequence[Signal]) -> str:
    """sha256 of what was shown about what, and by which encoder it is seen; the order of a source does not matter."""
    lines = sorted(f"{s.item_id}|{s.sign}|{s.strength:.4f}" for s in signals)
    return hashlib.sha256("\n".join([encoder.NAME, *lines]).encode()).hexdigest()


def build(
    user: str,
    reactions: Sequence[tuple[Item, Signal]],
    *,
    summary: str = "",
    encode: Encode = encoder.encode,
    topics: bool = True,
) -> Profile:
    """Build the profile from reactions, oldest first; only the latest MAX_SIGNALS count. Topics are the dear part."""
    reactions = reactions[-MAX_SIGNALS:]
    items = tuple(item for item, _ in reactions)
    signals = tuple(signal for _, signal in reactions)
    vectors = encode([item.text for item in items])  # (N, E)
    liked = np.array([signal.sign > 0 for signal in signals], bool)
    likes = [item for item, like in zip(items, liked, strict=True) if like]
    mean = vectors[liked].mean(0) if liked.any() else np.zeros(encoder.WIDTH, np.float32)
    return Profile(
        user=user,
        items=items,
        signals=signals,
        topics=_topics(likes, vectors[liked], encode) if topics else (),
        summary=summary,
        vectors=vectors,
        vector=mean,
        digest=digest(signals),
    )


def remarked(profile: Profile, signals: Sequence[Signal]) -> Profile | None:
    """The profile with what was said of its likes since (note, picked); None where the reactions are not its own."""
    if digest(signals) != profile.digest:
        return None
    latest = {signal.item_id: signal for signal in signals}
    said = tuple(latest[signal.item_id] for signal in profile.signals)
    return profile if said == profile.signals else replace(profile, signals=said)


def narrowed(profile: Profile, rows: Sequence[int]) -> Profile:
    """The profile as it would be with the items at `rows` only, in that order: without topics and digest."""
    signals = tuple(profile.signals[i] for i in rows)
    vectors = profile.vectors[list(rows)]
    liked = np.array([signal.sign > 0 for signal in signals], bool)
    return Profile(
        user=profile.user,
        items=tuple(profile.items[i] for i in rows),
        signals=signals,
        summary=profile.summary,
        vectors=vectors,
        vector=vectors[liked].mean(0) if liked.any() else np.zeros(vectors.shape[1], np.float32),
    )


def representatives(profile: Profile) -> tuple[Item, ...]:
    """The likes that stand for the profile: one of each topic, then the second of each, and so on."""
    by_rank = [topic.examples[r] for r in range(EXAMPLES) for topic in profile.topics if r < len(topic.examples)]
    return tuple(by_rank[:REPRESENTATIVES])


def _topics(items: list[Item], vectors: NDArray[np.float32], encode: Encode) -> tuple[Topic, ...]:
    """Average-linkage clusters of the likes, largest first."""
    from sklearn.cluster import AgglomerativeClustering

    if not items:
        return ()
    places = np.zeros(len(items), int)
    if len(items) > 1:
        farthest = 1 - unrelated()
        tree = AgglomerativeClustering(None, metric="cosine", linkage="average", distance_threshold=farthest)
        places = tree.fit_predict(vectors)
    members = [np.flatnonzero(places == c) for c in range(places.max() + 1)]
    centres = [vectors[rows].mean(0) for rows in members]
    labels = _labels([" ".join(items[i].text for i in rows) for rows in members], centres, encode)
    topics = []
    for rows, centre, label in zip(members, centres, labels, strict=True):
        nearest = rows[np.argsort(-(vectors[rows] @ centre), kind="stable")[:EXAMPLES]]
        topics.append(Topic(label, tuple(items[i] for i in nearest), len(rows) / len(items)))
    return tuple(sorted(topics, key=lambda t: (-t.weight, t.label)))


def _labels(texts: list[str], centres: list[NDArray[np.float32]], encode: Encode) -> list[str]:
    """For each cluster's joined text the three words nearest its centre, of those that set it apart.

    What sets apart is class-based TF-IDF (BERTopic, arXiv 2203.05794, equation 2); alone it prefers "said" and
    "says" in short jokes, so an embedding chooses among its best, as in KeyBERT.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    try:
        counter = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,20}\b")
        counts = counter.fit_transform(texts).toarray().astype(float)  # (clusters, words)
    except ValueError:  # not one word is left: scripts without word breaks, or stop words only
        return [text[:30] for text in texts]
    weight = counts * np.log1p(counts.sum() / len(texts) / counts.sum(0))
    words = counter.get_feature_names_out()
    labels = []
    for row, centre, text in zip(weight, centres, texts, strict=True):
        apart = [str(words[j]) for j in np.argsort(-row, kind="stable")[:LABEL_CANDIDATES] if row[j] > 0]
        nearest = np.argsort(-(encode(apart) @ centre), kind="stable")[:LABEL_WORDS] if apart else ()
        labels.append(", ".join(apart[j] for j in nearest) or text[:30])
    return labels
