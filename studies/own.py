"""The verbs about one's own profile and data: look at it, change it, take it along, delete it."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from collectors.item import Item, one_line
from collectors.sample import Sample
from engine.plane import plane
from engine.profile import Edit, Profile, Topic, representatives
from studies.belongings import delete, export
from studies.pictures import folder_of
from studies.statements import call_wrong
from studies.store import ME, Refused, Store
from studies.wish import ANYTHING
from studies.worker import Worker

MAX_COMMUNITIES, MAX_POINTS, MAX_NAME = 20, 500, 60


@dataclass(frozen=True, slots=True)
class Portrait:
    """The profile as the person sees and changes it. `months` are (year and month, sign, how many) of what has a date.

    `unread` texts wait to be encoded, `waiting` items have no text yet; `imports` are (name, rows saved, begun, ended).
    """

    topics: tuple[Topic, ...]
    muted: tuple[Topic, ...]
    liked: int
    disliked: int
    months: tuple[tuple[str, int, int], ...]
    communities: tuple[tuple[str, int], ...]
    unread: int
    waiting: int
    imports: tuple[tuple[str, int, str, str | None], ...]
    summary: str
    because: tuple[str, ...]  # the likes that the summary is drawn from


@dataclass(frozen=True, slots=True)
class Point:
    """A like on the map of tastes."""

    x: float
    y: float
    text: str
    topic: str


class Own:
    """`profile` gives a session's, with its latest reactions in it; `busy` says whether something else writes now,
    `forget` drops what lies in memory elsewhere, `uploads` is the person's own part of what the page may serve."""

    def __init__(
        self,
        store: Store,
        worker: Worker,
        profile: Callable[[str], Profile],
        busy: Callable[[], bool],
        forget: Callable[[], None],
        uploads: Path,
    ) -> None:
        self.store, self.worker, self._profile, self._busy, self._forget = store, worker, profile, busy, forget
        self._uploads = uploads

    def portrait(self, session: str) -> Portrait:
        """The person's taste as they may change it."""
        rater, profile = self.store.rater(session), self._profile(session)
        months = Counter((f"{signal.at:%Y-%m}", signal.sign) for signal in profile.signals if signal.at and signal.sign)
        communities = Counter(item.community for item in profile.liked if item.community)
        told = {item.id: item.text for item in profile.liked}
        drawn_from = profile.summary_evidence or tuple(item.id for item in representatives(profile))
        return Portrait(
            summary=profile.summary,
            because=tuple(told[i] for i in drawn_from if i in told) if profile.summary else (),
            topics=profile.topics,
            muted=profile.muted,
            liked=len(profile.liked),
            disliked=len(profile.disliked),
            months=tuple(sorted((month, sign, n) for (month, sign), n in months.items())),
            communities=tuple(communities.most_common(MAX_COMMUNITIES)),
            unread=self.worker.unread,
            waiting=sum(not item.text for item, _ in self.store.reactions(rater)),
            imports=tuple(
                (row["name"], row["saved"], row["started_at"], row["ended_at"]) for row in self.store.imports(rater)
            ),
        )

    def edit(self, session: str, kind: str, item_ids: Sequence[str], value: str = "1") -> None:
        """Name, pin or mute the topic of an item, or take items out; "" takes it back. Raises Refused."""
        rater = self.store.rater(session)
        known = {item.id for item, _ in self.store.reactions(rater)}
        if kind not in ("name", "pin", "mute", "out") or not item_ids or not known.issuperset(item_ids):
            raise Refused("that is not in your profile: choose a topic first, or open the page again")
        value = one_line(value)[:MAX_NAME]
        self.store.edit(rater, [Edit(kind, item_id, value) for item_id in item_ids])  # type: ignore[arg-type]
        self.worker.poke()

    def call_wrong(self, session: str, sentence: str) -> None:
        """Take a sentence out of the summary, and leave out what says the same from now on. Raises Refused."""
        call_wrong(self.store, self.store.rater(session), sentence)
        self.worker.poke()
        with self.worker.resting:
            self.worker.read_summary()

    def members(self, session: str, anchor: str) -> tuple[Item, ...]:
        """The likes of the topic that an item leads, the latest first."""
        self._profile(session)
        with self.worker.resting:
            return self.worker.book.members(anchor)

    def taste_map(self, session: str) -> tuple[Point, ...]:
        """The latest likes on a plane, near where they mean alike."""
        profile = self._profile(session)
        rows = [i for i, signal in enumerate(profile.signals) if signal.sign > 0][-MAX_POINTS:]
        places = plane(profile.vectors[rows])
        with self.worker.resting:
            topic = {item.id: t.label for t in profile.topics for item in self.worker.book.members(t.anchor)}
        return tuple(
            Point(float(x), float(y), profile.items[row].text[:120], topic.get(profile.items[row].id, ""))
            for row, (x, y) in zip(rows, places, strict=True)
        )

    def export_me(self, session: str) -> Path:
        """One zip of everything that is known of the person, where the page may serve it from."""
        self.store.rater(session)
        return export(self.store, self._uploads / f"palate-{time.strftime('%Y%m%d-%H%M%S')}.zip")

    def exported(self, session: str, name: str) -> Path:
        """A zip that `export_me` made for this person, by its name. Raises Refused where there is none of that name."""
        self.store.rater(session)
        found = {path.name: path for path in self._uploads.glob("palate-*.zip")}
        if name not in found:
            raise Refused("there is no such zip of yours: export it again on the Taste page")
        return found[name]

    def picture(self, session: str, name: str) -> Path:
        """A picture that was shown to this person, by the name of its file. Raises Refused for any other."""
        if not self.store.may_see(self.store.rater(session), name):
            raise Refused("there is no such picture of yours: judge pictures on the Compare page")
        return folder_of(self.store) / name

    def delete_me(self, session: str) -> None:
        """Delete everything personal, at once and for ever. Raises Refused while something else is still writing."""
        self.store.rater(session)
        if self._busy():
            raise Refused("an import, a fit or a judge is under way: stop it or wait, then delete")
        self.worker.wish = ANYTHING  # what is being painted is given up
        with self.worker.resting:
            delete(self.store)
            shutil.rmtree(self._uploads, ignore_errors=True)
            self.worker.forget()
            self._forget()
            self.store.add(ME, Sample())
            self.store.open_session(session, ME)
        self.worker.poke()
