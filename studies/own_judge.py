"""The Judge tab: the model on this machine judges the pairs that the person has judged, not knowing them and knowing
them, and a scorer of the feed beside it. No pair is touched before it was judged by the person."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.backbone import Backbone
from engine.profile import Profile, narrowed
from engine.recommend.local_judge import LocalJudge
from engine.recommend.scorers import NEAREST, PLAIN
from studies.agreement import Agreement, Repeatability, agree, repeatability
from studies.judge import Judge, Pair, TasteJudge, lean, settled
from studies.pairs import title
from studies.ratings import Ballot
from studies.records import records
from studies.register import Register
from studies.store import Refused, Store
from studies.turns import Turns

LEAST = 10  # judged pairs, from which on a judge has something to stand beside
LOOKS = 0.3  # seconds between two looks at how far it is
AT_ONCE = 4  # pairs of one turn at the model, in both orders: eight questions, one batch
SIDES = ("left", "right")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judging:
    """How far it is: verdicts said, of how many, and about how many seconds are left; `ended` is "" till then."""

    done: int
    of: int
    seconds_left: float
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """One judge beside the person: verdicts it gave, on how many of the person's pairs, the share of them that were
    ties, and how far the two agree."""

    name: str
    pairs: int
    ties: float
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Apart:
    """A pair of which the person and at least one judge chose different sides: what each said, by name."""

    left_text: str
    right_text: str
    left_title: str
    right_title: str
    said: str
    judged: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Session:
    """All that the tab tells. `pairs` were judged by the person, of which `waiting` lack a verdict; `held` are kept out
    of `apart` because one of them will be asked again. `lacks` says why the model cannot judge, "" where it can."""

    pairs: int
    waiting: int
    judges: tuple[Beside, ...]
    own: Repeatability
    apart: tuple[Apart, ...]
    held: int
    lacks: str


@dataclass(frozen=True, slots=True)
class _Row:
    """A judge, as people and as the table of verdicts name it, and whether it is told what the person likes."""

    name: str
    kept: str
    judge: Judge
    personal: bool
    by_model: bool


class OwnJudge:
    """`profile` gives a session's; `to_come_again` the trials that the person may soon be asked about once more.

    It judges in a thread of its own, a few pairs a turn at the model, so that pairs go on being written; who looks away
    and comes back sees how far it is. A judge's verdicts are kept when it is through or stopped.
    """

    def __init__(
        self,
        store: Store,
        lm: Backbone,
        turns: Turns,
        profile: Callable[[str], Profile],
        to_come_again: Callable[[], Sequence[str]],
    ) -> None:
        self.store, self.lm, self.turns = store, lm, turns
        self._profile, self._to_come_again = profile, to_come_again
        self.rows = (
            _Row("the model, not knowing you", lm.name, LocalJudge(lm), False, True),
            _Row("the model, knowing you", f"{lm.name}, knows the rater", LocalJudge(lm), True, True),
            _Row(
                "nearness to your likes",
                f"{NEAREST}, knows the rater",
                TasteJudge(PLAIN[NEAREST], NEAREST),
                True,
                False,
            ),
        )
        self._busy, self._stopping = threading.Lock(), threading.Event()
        self._now, self._trouble = Judging(0, 0, 0.0), ""

    def busy(self) -> bool:
        return self._busy.locked()

    def stop(self) -> None:
        self._stopping.set()
        self.turns.look_again()

    def session(self, session: str) -> Session:
        """What the person and the judges said so far."""
        profile = self._profile(session)
        there = records(self.store, None)
        ballots, held = there.played, self._to_come_again()
        found = {row.name: Register(self.store).verdicts(row.kept) for row in self._able(profile)}
        return Session(
            pairs=len(ballots),
            waiting=len({b.trial for b in ballots if any(b.trial not in said for said in found.values())}),
            judges=tuple(_beside(name, ballots, said) for name, said in found.items() if said),
            own=repeatability(there.ballots, there.repeats),
            apart=tuple(_apart([b for b in reversed(ballots) if b.trial not in held], found)),
            held=sum(b.trial in held for b in ballots),
            lacks=self.lm.refuses("within") or "",
        )

    def judge(self, session: str) -> Iterator[Judging]:
        """Let all judges say what they have not said yet, and yield how far that is; who asks while it goes on is told
        of the same. Raises Refused with the reason where it cannot be."""
        profile = self._profile(session)
        if self._busy.acquire(blocking=False):
            try:
                work = self._work(profile)
                self._stopping.clear()
                self._now, self._trouble = Judging(0, sum(len(ballots) for _, ballots in work), 0.0), ""
                threading.Thread(target=self._run, args=(work, profile), name="judge", daemon=True).start()
            except BaseException:
                self._busy.release()
                raise
        while not (now := self._now).ended:
            yield now
            time.sleep(LOOKS)
        if self._trouble:
            raise Refused(f"it could not be judged ({self._trouble}): what was judged before is kept")
        yield now

    def _able(self, profile: Profile) -> list[_Row]:
        """Those that can judge: of nobody no taste is known, and a model on a server may not be asked for odds."""
        refused = bool(self.lm.refuses("within"))
        return [row for row in self.rows if not (row.personal and not profile.liked) and not (row.by_model and refused)]

    def _work(self, profile: Profile) -> list[tuple[_Row, list[Ballot]]]:
        """For each judge the pairs on which it has no verdict."""
        ballots = records(self.store, None).played
        if len(ballots) < LEAST:
            raise Refused(f"judge {LEAST - len(ballots)} more pairs on the Compare page first")
        work = []
        for row in self._able(profile):
            known = Register(self.store).verdicts(row.kept)
            work.append((row, [ballot for ballot in ballots if ballot.trial not in known]))
        return work

    def _run(self, work: Sequence[tuple[_Row, list[Ballot]]], profile: Profile) -> None:
        began, done, of, ended = time.monotonic(), 0, self._now.of, "failed"
        try:
            for row, ballots in work:
                said: list[tuple[Ballot, float, float]] = []
                whom = without(profile, ballots) if row.personal else None
                for start in range(0, len(ballots), AT_ONCE):
                    some = ballots[start : start + AT_ONCE]
                    odds = self._ask(row, [(b.left_text, b.right_text) for b in some], whom)
                    if odds is None:
                        break
                    said += [(b, first, second) for b, (first, second) in zip(some, odds, strict=True)]
                    done += len(some)
                    self._now = Judging(done, of, (time.monotonic() - began) / done * (of - done))
                self._keep(row, said)
                if self._stopping.is_set():
                    break
            ended = "stopped: what was judged is kept" if done < of else "every pair is judged"
        except Exception as error:  # it is told where the caller waits
            log.exception("the model could not judge")
            self._trouble = str(error) or type(error).__name__
        finally:
            self._busy.release()
            self._now = Judging(done, of, 0.0, ended)

    def _ask(self, row: _Row, pairs: Sequence[Pair], whom: Profile | None) -> list[tuple[float, float]] | None:
        """Both orders of some pairs, None where it was stopped meanwhile."""
        both = [*pairs, *((b, a) for a, b in pairs)]
        if self._stopping.is_set():
            return None
        if not row.by_model:
            odds = row.judge.prefers(both, whom)
        else:
            with self.turns.turn(self, given_up=self._stopping.is_set) as mine:
                if not mine:
                    return None
                odds = row.judge.prefers(both, whom)
        return list(zip(odds[: len(pairs)], odds[len(pairs) :], strict=True))

    def _keep(self, row: _Row, said: Sequence[tuple[Ballot, float, float]]) -> None:
        """Keep the verdicts, less the judge's lean to a place by all that it ever said here."""
        held = Register(self.store)
        before = held.odds(row.kept)
        forward, backward = ([both[side] for both in [*before, *((a, b) for _, a, b in said)]] for side in (0, 1))
        off = lean(forward, backward)
        found = settled([a for _, a, _ in said], [b for _, _, b in said], off)
        held.keep_verdicts(row.kept, zip((ballot.trial for ballot, _, _ in said), found, strict=True))


def without(profile: Profile, ballots: Sequence[Ballot]) -> Profile:
    """The person without what these pairs hold: a judged text that was let teach may not tell how it was judged, nor
    may a summary of it."""
    texts = {text for ballot in ballots for text in (ballot.left_text, ballot.right_text)}
    rest = [row for row, item in enumerate(profile.items) if item.text not in texts]
    return profile if len(rest) == len(profile.items) else replace(narrowed(profile, rest), summary="")


def _beside(name: str, ballots: Sequence[Ballot], said: Mapping[str, tuple[str, float]]) -> Beside:
    mine = [said[ballot.trial][0] for ballot in ballots if ballot.trial in said]
    choices, scores = ({trial: one[part] for trial, one in said.items()} for part in (0, 1))
    ties = sum(choice == "tie" for choice in mine) / max(1, len(mine))
    return Beside(name, len(mine), ties, agree(ballots, choices, scores))  # type: ignore[arg-type]


def _apart(ballots: Sequence[Ballot], found: Mapping[str, Mapping[str, tuple[str, float]]]) -> Iterator[Apart]:
    for ballot in ballots:
        judged = tuple((name, said[ballot.trial][0]) for name, said in found.items() if ballot.trial in said)
        if ballot.choice in SIDES and any(choice in SIDES and choice != ballot.choice for _, choice in judged):
            yield Apart(
                ballot.left_text, ballot.right_text, title(ballot.left), title(ballot.right), ballot.choice, judged
            )
