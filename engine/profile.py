"""A person's taste as a value: what they reacted to, its topics, its summary and its vectors."""

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from collectors.item import Item, Signal
from engine import encoder
from engine.labels import Words
from engine.topics import Clusters, unrelated

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Reaction = tuple[Item, Signal]

MAX_SIGNALS = 100_000  # the latest count: 154 MB of vectors
MAX_CLUSTERS = 256
MAX_TOPICS = 40  # those with a name, the largest
REPRESENTATIVES = 6
EXAMPLES = 3  # items that stand for a topic
HALF_LIFE = 365.0  # days after which a like weighs half; one without a date weighs half of the newest


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing a person likes: words that set it apart, the likes nearest its centre, its share of all likes, which is
    weighted by how recent they are. `anchor` is the like that leads it: edits of the topic hang on that."""

    label: str
    examples: tuple[Item, ...]
    weight: float
    anchor: str = ""
    size: int = 0
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """What the person did to the topic that the like `item_id` is in: gave it a name, pinned it, muted it (its likes
    count no more, nor do those to come); or took that like itself out. An empty `value` takes it back."""

    kind: Literal["name", "pin", "mute", "out"]
    item_id: str
    value: str = "1"


@dataclass(frozen=True, eq=False)
class Profile:
    """`items`, `signals` and `vectors` (N, E) are aligned, oldest first; `vector` (E,) is the mean of the likes by how
    recent they are. What is muted or taken out stands in none of them.

    `digest` names the evidence: it covers signals, edits and encoder, never the summary written from them.
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
    muted: tuple[Topic, ...] = ()

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


def digest(reactions: Iterable[Reaction], edits: Iterable[Edit] = ()) -> str:
    """sha256 of what was shown about what, what was done to it, and by which encoder it is seen; the order of a source
    does not matter."""
    return _digest(sorted(map(_line, reactions)), edits)


def _digest(lines: Sequence[str], edits: Iterable[Edit]) -> str:
    """The same of signals that are sorted lines already."""
    done = sorted(f"{edit.kind}|{edit.item_id}|{edit.value}" for edit in edits)
    return hashlib.sha256("\n".join([encoder.NAME, *lines, *done]).encode()).hexdigest()


def _line(reaction: Reaction) -> str:
    item, signal = reaction
    # the same id says more once its own text has come in the place of its link's words
    return f"{item.id}|{signal.sign}|{signal.strength:.4f}{'|stand-in' if item.stand_in else ''}"


def build(
    user: str,
    reactions: Sequence[Reaction],
    edits: Sequence[Edit] = (),
    *,
    summary: str = "",
    encode: Encode = encoder.encode,
    topics: bool = True,
) -> Profile:
    """Build the profile from reactions, oldest first. Of the latest MAX_SIGNALS, or up to a tenth less, those with a
    text count."""
    book = Book(user, encode)
    return replace(book.profile(reactions, edits, topics=topics), summary=summary)


class Book:
    """One person's profile while reactions arrive: what came since the last call costs its own share, and the profile
    is the one that `build` makes of all of them."""

    def __init__(self, user: str, encode: Encode = encoder.encode) -> None:
        self.user, self._encode = user, encode
        self._start(())

    def _start(self, edits: tuple[Edit, ...]) -> None:
        self._edits = edits
        self._seen: list[Reaction] = []
        self._kept: list[Reaction] = []  # of these, those with a text that are not taken out
        self._lines: list[str] = []  # of the digest, sorted
        self._rows = np.zeros((0, encoder.WIDTH), np.float32)  # with room to grow
        self._members: list[list[int]] = []
        self._clusters = Clusters(encoder.WIDTH, unrelated(), MAX_CLUSTERS)
        self._words = Words()
        self._mean = _Recent(encoder.WIDTH)
        self._shares = _Recent(MAX_CLUSTERS + 1)  # the last is of likes in no cluster

    def profile(self, reactions: Sequence[Reaction], edits: Sequence[Edit] = (), *, topics: bool = True) -> Profile:
        """The profile of these reactions, oldest first."""
        held = {(edit.kind, edit.item_id): edit for edit in edits}  # the latest of a kind
        edits = tuple(edit for edit in held.values() if edit.value)
        step = MAX_SIGNALS // 10  # the oldest go in one go, so that most of the time nothing has to be read anew
        reactions = reactions[max(0, -(-(len(reactions) - MAX_SIGNALS) // step)) * step :]
        known = len(self._seen)
        if (
            edits != self._edits
            or known > len(reactions)
            or any(a is not b for a, b in zip(self._seen, reactions, strict=False))
        ):
            self._start(edits)
            known = 0
        self._read(reactions[known:], topics)
        return self._profile(topics)

    def _read(self, new: Sequence[Reaction], topics: bool) -> None:
        out = {edit.item_id for edit in self._edits if edit.kind == "out"}
        fresh = [(item, signal) for item, signal in new if item.text and item.id not in out]
        self._seen += new
        at = len(self._kept)
        self._kept += fresh
        self._grow(at, self._encode([item.text for item, _ in fresh]))
        lines = [_line(reaction) for reaction in fresh]
        if len(lines) > 100:
            self._lines = sorted(self._lines + lines)
        else:
            for line in lines:
                insort(self._lines, line)
        for row, (item, signal) in enumerate(fresh, at):
            if signal.sign > 0:
                vector = self._rows[row]
                self._mean.add(vector, signal.at)
                if topics:
                    self._place(row, vector, item.text, signal.at)

    def _grow(self, at: int, vectors: NDArray[np.float32]) -> None:
        """Rows that a profile was given are never written again: its vectors are a view of these."""
        if at + len(vectors) > len(self._rows):
            room = np.zeros((at + len(vectors) + max(1_000, at // 4), encoder.WIDTH), np.float32)
            room[:at] = self._rows[:at]
            self._rows = room
        self._rows[at : at + len(vectors)] = vectors

    def _place(self, row: int, vector: NDArray[np.float32], text: str, when: datetime | None) -> None:
        cluster = self._clusters.add(vector)
        share = np.zeros(MAX_CLUSTERS + 1, np.float32)
        share[cluster] = 1
        self._shares.add(share, when)
        if cluster == len(self._members):
            self._members.append([])
        if cluster >= 0:
            self._members[cluster].append(row)
            self._words.add(cluster, text)

    def _profile(self, topics: bool) -> Profile:
        kept, rows = self._kept, self._rows[: len(self._kept)]
        of = (
            {item.id: c for c, members in enumerate(self._members) for item in (kept[i][0] for i in members)}
            if self._edits
            else {}
        )
        told = {
            kind: {of[e.item_id]: e.value for e in self._edits if e.kind == kind and e.item_id in of}
            for kind in ("name", "pin", "mute")
        }
        muted = set(told["mute"])
        mean = self._mean.mean()
        if muted:
            gone = {row for cluster in muted for row in self._members[cluster]}
            left = [i for i in range(len(kept)) if i not in gone]
            kept, rows = [kept[i] for i in left], rows[left]
            recent = _Recent(encoder.WIDTH)
            for (_, signal), vector in zip(kept, rows, strict=True):
                if signal.sign > 0:
                    recent.add(vector, signal.at)
            mean = recent.mean()
        found = self._topics(told) if topics else []
        return Profile(
            user=self.user,
            items=tuple(item for item, _ in kept),
            signals=tuple(signal for _, signal in kept),
            topics=tuple(topic for cluster, topic in found if cluster not in muted),
            muted=tuple(topic for cluster, topic in found if cluster in muted),
            vectors=rows,
            vector=mean,
            digest=_digest(self._lines, self._edits),
        )

    def members(self, anchor: str) -> tuple[Item, ...]:
        """The likes of the topic that this one leads, the latest first; () where it leads none."""
        for members in self._members:
            if self._kept[members[0]][0].id == anchor:
                return tuple(self._kept[i][0] for i in reversed(members))
        return ()

    def _topics(self, told: dict[str, dict[int, str]]) -> list[tuple[int, Topic]]:
        """The largest clusters and those that the person did something to, pinned ones first."""
        weights = self._shares.mean()
        largest = sorted(range(len(self._members)), key=lambda c: (-weights[c], c))
        shown = dict.fromkeys([*told["pin"], *largest[:MAX_TOPICS], *told["name"], *told["mute"]])
        topics = []
        for cluster in shown:
            members = np.array(self._members[cluster])
            centre = self._clusters.sums[cluster] / len(members)
            nearest = members[np.argsort(-(self._rows[members] @ centre), kind="stable")[:EXAMPLES]]
            examples = tuple(self._kept[i][0] for i in nearest)
            label = (
                told["name"].get(cluster) or self._words.label(cluster, centre, self._encode) or examples[0].text[:30]
            )
            topic = Topic(
                label,
                examples,
                float(weights[cluster]),
                self._kept[members[0]][0].id,
                len(members),
                cluster in told["pin"],
            )
            topics.append((cluster, topic))
        return sorted(topics, key=lambda found: (not found[1].pinned, -found[1].weight, found[1].label))


class _Recent:
    """A mean of vectors whose weights halve every HALF_LIFE days, taken one at a time."""

    def __init__(self, width: int) -> None:
        self._dated, self._undated = np.zeros(width), np.zeros(width)
        self._weight = self._others = 0.0
        self._first: datetime | None = None
        self._newest = 0.0  # half-lives since the first

    def add(self, vector: NDArray[np.float32], at: datetime | None) -> None:
        if at is None:
            self._undated += vector
            self._others += 1
            return
        self._first = self._first or at
        age = (at - self._first).total_seconds() / 86_400 / HALF_LIFE
        self._newest = max(self._newest, age)
        self._dated += 2.0**age * vector
        self._weight += 2.0**age

    def mean(self) -> NDArray[np.float32]:
        """Zeros where nothing was added."""
        now = 2.0**-self._newest
        total = now * self._weight + 0.5 * self._others
        mean: NDArray[np.float32] = ((now * self._dated + 0.5 * self._undated) / max(total, 1e-12)).astype(np.float32)
        return mean


def remarked(profile: Profile, before: Sequence[Reaction], now: Sequence[Reaction]) -> Profile | None:
    """The profile of the reactions `before` as that of those `now`, if these differ in what was said of likes (note,
    picked) and in nothing else; None if they do."""
    if len(before) != len(now) or any(a[0] != b[0] or _line(a) != _line(b) for a, b in zip(before, now, strict=True)):
        return None
    said = {signal.item_id: signal for _, signal in now}
    return replace(profile, signals=tuple(said[signal.item_id] for signal in profile.signals))


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


def direction(profile: Profile) -> NDArray[np.float32]:
    """Where a text should lie (E,): towards what is liked, away from what is disliked."""
    disliked = np.array([signal.sign < 0 for signal in profile.signals], bool)
    away = profile.vectors[disliked].mean(0) if disliked.any() else np.zeros_like(profile.vector)
    towards: NDArray[np.float32] = profile.vector - away
    return towards


def representatives(profile: Profile) -> tuple[Item, ...]:
    """The likes that stand for the profile: one of each topic, then the second of each, and so on."""
    by_rank = [topic.examples[r] for r in range(EXAMPLES) for topic in profile.topics if r < len(topic.examples)]
    return tuple(by_rank[:REPRESENTATIVES])
