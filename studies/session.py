"""The verbs the page may call. What a verb returns before the vote has no field for a method."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

from collectors.detect import open_source
from collectors.item import CollectError, ImportReport, Item, one_line
from collectors.sample import Sample
from collectors.table import ROLES
from engine import encoder
from engine.backbone import Backbone, BackboneError
from engine.claude import Claude
from engine.fitting import likes_of
from engine.learning import provenance, stand_on, state_name, state_path
from engine.methods import ARMS
from engine.methods.base import Method
from engine.pictures import Painter, PictureError
from engine.plan import Quantize
from engine.profile import Profile, remarked
from engine.reasons import drafts
from engine.recommend.scorer import Scorer
from engine.recommend.scorers import NEAREST, scorer
from engine.recommend.taste import spread
from engine.remote import Runs, opened
from engine.server import ServerError
from engine.state import StateError
from engine.summary import MAX_CHARS, MAX_DISLIKES, MAX_LIKES
from engine.weights import EMBEDDED, WeightsError
from studies import settings
from studies.corner import Corner
from studies.database import Row, StoreError, address
from studies.device import NO_TIME, Lender, by_model, lend, lent
from studies.fetching import Fetching
from studies.importing import UPLOADS, Imports, sweep
from studies.ledger import Tell
from studies.outcome import Cost, Outcome, outcome
from studies.own import Own
from studies.own_judge import OwnJudge
from studies.pairs import LEFT_OUT, lacking, selected, supersede, title, waiting_for
from studies.pictures import can_be_painted
from studies.ratings import Ballot
from studies.recommending import Recommending, source_of
from studies.schedule import HUMAN, PICTURE
from studies.signing import RedditDoor
from studies.store import LOCAL, ME, Candidate, Refused, Store, as_post
from studies.teaching import Fitting, Teacher
from studies.turns import Turns
from studies.wish import Wish
from studies.worker import Worker

REPEAT_EVERY = 10  # judged pairs after which one comes again with its sides swapped
REPEAT_AFTER = 6  # others at least lie between the two
FEED_CHOICE = 400  # unseen texts among which the next card is chosen
MIN_RANKED = 3  # likes, from which on it is chosen by taste
EXPLORE_EVERY = 3
AHEAD = 3  # cards that a page holds: the one in view and two that come
LATELY = 5  # cards to which the next one chosen by taste should not be too like
TASTE = 0.8  # how much the person's taste counts; the rest is how unlike those it is
GENERATED_EVERY = 5  # of the feed's cards one was written by the model, so that it learns from its own
PATIENCE = 60.0  # seconds
CATCH_UP = 5.0  # seconds that the Train page waits until the worker has seen the latest reactions
MAX_DRAFTS = 6  # reasons in one go
CHANGING = "the model is being changed: try again in a moment"
TERMS = (
    f"The texts of at most {MAX_LIKES} posts that you liked and {MAX_DISLIKES} that you disliked, cut to {MAX_CHARS} "
    "characters, go to {recipient}, again whenever you like or dislike something. There {model} writes the summary of "
    "your taste in place of the model that writes. Apart from what stands in those texts, no name, community, "
    "date or id of yours goes with them; like any request, this one shows the owner's API key, the network address and "
    "the versions of Python and system. "
    "You can end it here at any time; what was sent before cannot be called back."
)


@dataclass(frozen=True, slots=True)
class BlindPair:
    """All that the browser receives before the vote."""

    id: str
    left_text: str
    right_text: str


@dataclass(frozen=True, slots=True)
class BlindPictures:
    """The same of a pair of pictures: the names of two files."""

    id: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pair that is still to be written: how many turns at the model come first, and about how many seconds are left,
    0 where nothing is known yet. `trouble` is why the last try failed; another one is under way."""

    before: int
    seconds_left: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One text of the feed; who wrote it is told after the reaction."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Side:
    """What one side was, told after the vote. `because` are the likes that its prompt held, of which `shortened` did
    not stand there whole. Of a picture `prompt` is what the image model was told, without `left_out` statements of the
    person's taste, which did not fit."""

    arm: str
    title: str
    because: tuple[str, ...]
    tokens: int
    seconds: float  # of the decode that wrote it, together with what else that wrote; 0 for a person's post
    shortened: int = 0
    prompt: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Reveal:
    """`again` says that the pair was shown a second time: that vote tells how one agrees with oneself, no more."""

    choice: str
    kind: str
    topic: str
    left: Side
    right: Side
    again: bool = False


@dataclass(frozen=True, slots=True)
class Reacted:
    """What a card was, told after the reaction."""

    choice: str
    source: str


@dataclass(frozen=True, slots=True)
class Taste:
    """Where the person stands: counts, the profile's topics and summary, and what each missing arm waits for."""

    likes: int
    dislikes: int
    votes: int
    topics: tuple[str, ...]
    summary: str
    author: str  # of the summary: the host that was asked, "" for the local model
    trouble: str  # why the API's summary does not come, "" while all is well
    waiting: tuple[tuple[str, str], ...]  # (title of an arm, what it lacks)


@dataclass(frozen=True, slots=True)
class Sending:
    """Whether likes may go to an API. `terms` say what goes to whom, "" without a key; `since` is when yes was said."""

    terms: str
    since: str


@dataclass(frozen=True, slots=True)
class Way:
    """One way of writing on the Train page. `lacks` says why it cannot run, "" where it can; `note` what it learned;
    `teachable` whether it learns from many people, `fittable` whether from this one."""

    arm: str
    title: str
    chosen: bool
    lacks: str
    note: str
    teachable: bool
    fittable: bool


@dataclass(frozen=True, slots=True)
class Liked:
    """A like, whether the person picked it as one of their best, and why they like it, in their words."""

    text: str
    picked: bool
    why: str


class NotReady(RuntimeError):
    """No pair could be written in time. The message says what to do."""


class CannotStart(RuntimeError):
    """The room cannot be opened, or an import not read. The message is one sentence that says what to do."""


# what opening a data folder and a model may raise; each message is for people as well
CANNOT_OPEN = (StoreError, WeightsError, BackboneError, CollectError, StateError, encoder.EncoderError, PictureError)
TROUBLE = (Refused, NotReady, StoreError)  # what a verb may raise while the app runs; each message is for people


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """All that is loaded once, however many rooms there are."""

    lm: Backbone
    claude: Claude | None
    ranks: Scorer | None
    painter: Painter | None = None

    @classmethod
    def load(
        cls,
        data_dir: Path,
        model: str | None = None,
        quantize: Quantize = "auto",
        summary_model: str = "",
        sentence_encoder: str | None = None,
        base: bool = True,
        rank: str = NEAREST,
        runs: Runs = "process",
        base_url: str | None = None,
        gpu: Lender | None = None,
        image_model: str | None = None,
        image_steps: int | None = None,
    ) -> "Engine":
        """Load the models; raises CannotStart.

        `summary_model` may write the summary, if the environment has a key and once the person says yes. With `base`
        all ways of writing stand on the task-adapted model, where there is one for it. `rank` names the scorer of the
        feed. The model `runs` in this process, or on a server at `base_url`; with `gpu` it works only where that runs
        it. `image_model` paints, in so many steps.
        """
        if gpu and rank != NEAREST:
            raise CannotStart("the accelerator here is lent for seconds, which serve for writing: leave --rank out")
        if gpu and image_model:
            raise CannotStart(
                "the accelerator here is lent for seconds, too few for a picture: leave --image-model out"
            )
        try:
            encoder.use(sentence_encoder)
            claude = Claude.from_environment(summary_model) if summary_model else None
            found = cls.writing(data_dir, model, quantize, claude, base, rank, runs, base_url, gpu)
            return replace(found, painter=Painter.load(image_model, image_steps)) if image_model else found
        except CANNOT_OPEN as error:
            raise CannotStart(str(error)) from error

    @classmethod
    def writing(
        cls,
        data_dir: Path,
        model: str | None,
        quantize: Quantize,
        claude: Claude | None,
        base: bool,
        rank: str,
        runs: Runs = "process",
        base_url: str | None = None,
        gpu: Lender | None = None,
    ) -> "Engine":
        """The same over the encoder in use, which never changes while the app runs; raises CannotStart."""
        try:
            lm = opened(runs, base_url, model, quantize)
            if base:
                stand_on(lm, data_dir)
            if gpu:
                lend(lm, gpu)
            return cls.around(lm, data_dir, claude, rank)
        except CANNOT_OPEN as error:
            raise CannotStart(str(error)) from error

    @classmethod
    def around(cls, lm: Backbone, data_dir: Path, claude: Claude | None, rank: str) -> "Engine":
        """The same with a model that is loaded already; raises StateError."""
        return cls(lm, claude, None if rank == NEAREST else scorer(rank, lm, data_dir))


class Studio:
    """One person's room: the store, the model, and the worker that writes ahead. Verbs are safe from any thread.

    `tell` hears of every vote before it is acknowledged, of one taken back, and that all was deleted. `uploads` is
    where what the person uploads and downloads lies. A `guest` cannot teach what others use as well.
    """

    def __init__(
        self,
        store: Store,
        lm: Backbone,
        seed: int = 0,
        claude: Claude | None = None,
        ranks: Scorer | None = None,
        turns: Turns | None = None,
        tell: Tell | None = None,
        uploads: Path | None = None,
        guest: bool = False,
        painter: Painter | None = None,
    ) -> None:
        self.store, self.lm, self._guest, self.painter = store, lm, guest, painter
        self._tell = tell or (lambda **what: None)
        self._uploads = uploads or self.folder / UPLOADS
        store.add(ME, Sample())
        self.claude = claude
        self.worker = Worker(store, lm, ME, seed, claude, ranks, turns, painter)
        self.teacher = Teacher(lm, self.folder, self.worker.poke)
        self.imports = Imports(store, self.worker.poke, self._uploads)
        self.texts = Fetching(store, self.worker.poke)
        self.reddit = RedditDoor(store, self.imports)
        self.corner = Corner(store, lm, self.worker.turns, self._profile)
        self.judging = OwnJudge(store, lm, self.worker.turns, self._profile, self._coming_again)
        self.recommending = Recommending(store, lm, self.worker.turns, self._profile, self.worker.poke)
        self.own = Own(store, self.worker, self._profile, self.busy, self._forget, self._uploads)
        self.stop_teaching, self.stop_fetching = Event(), Event()  # a person may end what takes long
        self._lately: deque[str] = deque(maxlen=LATELY)  # texts of cards, also of those that were skipped

    @classmethod
    def open(
        cls,
        data_dir: Path,
        model: str | None = None,
        quantize: Quantize = "auto",
        seed: int = 0,
        database_url: str | None = None,
        **engine: Any,
    ) -> "Studio":
        """Open one person's data folder and load the models; raises CannotStart. Tables stand in the PostgreSQL at
        `database_url`, else where the environment says, else in the folder. The rest as in `Engine.load`."""
        try:
            store = Store(data_dir, address(database_url))  # before a model is loaded for nothing
        except StoreError as error:
            raise CannotStart(str(error)) from error
        found = Engine.load(data_dir, model, quantize, **engine)
        return cls(store, found.lm, seed, found.claude, found.ranks, painter=found.painter)

    @property
    def small(self) -> bool:
        """Whether the tiny model writes that comes with Palate."""
        return self.lm.name == EMBEDDED

    def start(self) -> None:
        sweep(self._uploads)
        self.supersede()
        self.worker.start()

    def supersede(self) -> None:
        """Take out what waits and was made by another model or with another sampler than are in use now."""
        paints = self.painter.fingerprint if self.painter else ""
        supersede(self.store, ME, self.lm.fingerprint, settings.read(self.folder).preset, paints)

    def close(self) -> None:
        self.judging.stop()
        self.worker.close()

    def busy(self) -> bool:
        """Whether an import, a fit, a judge or a ranking is under way."""
        parts = (self.teacher, self.judging, self.recommending)
        return self.imports.under_way() or any(part.busy() for part in parts)

    def _forget(self) -> None:
        self.imports.forget()
        self.reddit.forget()
        self.recommending.forget()
        self._lately.clear()
        self._tell(gone=True)

    def import_table(self, path: Path, columns: Sequence[str] = ()) -> ImportReport:
        """Import an export or a table for the person. Raises CannotStart; of a large one whole chunks are kept then.

        `columns` are "role=name", for files whose columns have names of their own.
        """
        named = dict(column.partition("=")[::2] for column in columns)
        if unknown := named.keys() - ROLES.keys():
            raise CannotStart(
                f"{min(unknown)!r} is no role of a column: use one of {', '.join(ROLES)}, as in rating=stars"
            )
        try:
            source = open_source(path, **named)
            self.store.add(ME, source)
        except (CollectError, StoreError) as error:
            raise CannotStart(str(error)) from error
        self.worker.poke()
        return source.report()

    def enter(self, session: str) -> None:
        """Make a page's session known. Every verb below needs that first."""
        self.store.open_session(session, ME)

    # ---- feed

    def next_card(self, session: str) -> Card | None:
        """The card to react to: the one on the table, or the next; None when everything was seen."""
        row = self.store.open_trial(session, "card")
        if not row:
            row = self._show_next(session, self.store.rater(session))
            if row:
                self._lately.append(row["left_text"])
        return Card(row["id"], row["left_text"]) if row else None

    def cards(self, session: str, count: int = AHEAD) -> list[Card]:
        """The card to react to and those that come after it, so that nobody waits for a line; [] when everything was
        seen."""
        rows = self.store.open_trials(session, "card")
        rater = self.store.rater(session)
        while len(rows) < count and (row := self._show_next(session, rater)):
            self._lately.append(row["left_text"])
            rows.append(row)
        return [Card(row["id"], row["left_text"]) for row in rows]

    def _show_next(self, session: str, rater: str) -> Row | None:
        """A post by people, and in its turn, or where none is left, one that was written for the person."""
        own_turn = self.store.cards_shown(rater) % GENERATED_EVERY == GENERATED_EVERY - 1
        if own_turn and (row := self._show_written(session, rater)):
            return row
        item = self._next_item(rater)
        if item is None:
            return self._show_written(session, rater)
        return self.store.show_card(session, as_post(item), self.lm.fingerprint)

    def _show_written(self, session: str, rater: str) -> Row | None:
        for waiting in self.store.ready(rater, "card"):
            if row := self.store.show(waiting["id"], session):
                return row
        return None

    def _next_item(self, rater: str) -> Item | None:
        """The unseen text most to the person's taste that is unlike the cards before it; every third card explores: the
        next of a fixed shuffle."""
        items = self.store.unseen(rater, "feed", FEED_CHOICE)
        profile = self.worker.profile
        if len(profile.liked) < MIN_RANKED or self.store.cards_shown(rater) % EXPLORE_EVERY == 0:
            return items[0] if items else None
        lately = list(self._lately)
        unread = set(self.store.vectors.missing([*lately, *(item.text for item in items)]))  # nobody waits for these
        known = [item for item in items if item.text not in unread]
        if not known:
            return items[0] if items else None
        texts = [item.text for item in known]
        vectors = self.store.vectors(texts)
        before = self.store.vectors([text for text in lately if text not in unread])
        rows, scores = self.worker.ranking.of(profile, texts, vectors)
        return known[rows[spread(scores, vectors[rows], 1, TASTE, before)[0]]]

    def react(self, session: str, card: str, choice: str, viewed_ms: int | None = None) -> Reacted:
        """Like, dislike or skip a card; it teaches at once. `viewed_ms` is how long it was in view. Raises Refused for
        anybody else's card."""
        row = self.store.vote(session, card, choice, kinds=("card",), viewed_ms=viewed_ms)
        self.worker.poke()
        item = self.store.items([row["item_id"]])[row["item_id"]] if row["item_id"] else None
        if item is None or item.maker == "model":
            return Reacted(choice, "written for you by the model")
        return Reacted(choice, source_of(item))

    def say_why(self, session: str, card: str, why: str) -> None:
        """Keep why the person likes a card that they liked. Raises Refused for any other."""
        item_id = self.store.liked_card(session, card)
        mine = {item.id: signal for item, signal in self.store.reactions(self.store.rater(session)) if signal.sign > 0}
        if item_id not in mine:
            raise Refused("a reason belongs to something that you liked: like it first")
        self.store.remark(self.store.rater(session), {item_id: (one_line(why), mine[item_id].picked)})
        self.worker.poke()

    def likes(self, session: str) -> list[Liked]:
        """What the person likes, the latest first, with what they said of it."""
        said: dict[str, Liked] = {}
        for item, signal in reversed(self.store.reactions(self.store.rater(session))):
            if signal.sign > 0:  # the same text from two sources is one row
                other = said.get(item.text, Liked(item.text, False, ""))
                said[item.text] = Liked(item.text, signal.picked or other.picked, other.why or signal.note)
        return list(said.values())

    def remark(self, session: str, said: Sequence[Liked]) -> int:
        """Keep what the person says of their likes, found by their texts; returns how many changed."""
        rater = self.store.rater(session)
        told = {liked.text: (one_line(liked.why), liked.picked) for liked in said}
        changed = {
            item.id: told[item.text]
            for item, signal in self.store.reactions(rater)
            if signal.sign > 0 and told.get(item.text, (signal.note, signal.picked)) != (signal.note, signal.picked)
        }
        self.store.remark(rater, changed)
        self.worker.poke()
        return len(changed)

    def draft_reasons(self, texts: Sequence[str]) -> list[str]:
        """Why somebody may like each text, for the person to change and keep: nothing is kept here. Raises NotReady
        where a server does not answer."""
        try:
            return [one_line(draft) for draft in by_model(drafts, self.lm, texts[:MAX_DRAFTS])] if texts else []
        except ServerError as error:
            raise NotReady(str(error)) from error

    def take_back_card(self, session: str) -> Card | None:
        """Undo the latest reaction and put its card on the table again."""
        row = self.store.undo(session, "card")
        self.worker.poke()
        self.store.show(self.store.repeat(row["id"]), session)  # the card that lay there comes again after it
        return self.next_card(session)

    # ---- blind pairs

    def next_pair(self, session: str, patience: float = PATIENCE) -> BlindPair | BlindPictures:
        """The pair to judge: the one on the table, or the next that is ready. Raises NotReady after `patience`
        seconds."""
        deadline = time.monotonic() + patience
        failures = self.worker.failures
        while isinstance(told := self.pair_now(session), Waiting):
            if self.worker.closed:
                raise NotReady(CHANGING)
            if self.worker.failures > failures:
                raise NotReady(f"no pair could be written ({self._why()}): try again")
            if (left := deadline - time.monotonic()) <= 0:
                raise NotReady("the next pair is still being written: try again in a moment")
            self.worker.wait(min(left, 1.0))
        return told

    def _why(self) -> str:
        return self.worker.trouble if self._guest else self.worker.failure

    def pair_now(self, session: str) -> BlindPair | BlindPictures | Waiting:
        """The pair to judge, or how long it will take until there is one: whoever waits asks again each second."""
        worker, rater = self.worker, self.store.rater(session)
        row = self.store.open_trial(session, "pair") or self._again(session)
        for waiting in [] if row else waiting_for(self.store, rater, worker.wish):
            row = row or self.store.show(waiting["id"], session)
        worker.poke()
        if row:
            kind = BlindPictures if row["pictures"] else BlindPair
            return kind(row["id"], row["left_text"], row["right_text"])
        worker.somebody_waits()
        trouble = self._why() if worker.failing else ""
        return Waiting(worker.turns.before(worker), worker.seconds_left(), trouble)

    def _again(self, session: str) -> Row | None:
        """In its turn a pair that was judged some time ago, to see how well a person agrees with themselves."""
        pictures = self.worker.wish.pictures
        main, again = self.store.ballots(pictures=pictures), self.store.ballots("repeat", pictures=pictures)
        if len(main) < (len(again) + 1) * REPEAT_EVERY:
            return None
        old = coming_again(main, again)
        return self.store.show_again(old[0], session) if old else None

    def _coming_again(self) -> list[str]:
        return coming_again(self.store.ballots(), self.store.ballots("repeat"))

    def wish(self, session: str, kind: str, about: str) -> Wish:
        """What the person wants to judge, from the next pair that is written. Raises Refused for no such kind, and for
        pictures of what cannot be painted."""
        self.store.rater(session)
        wish = Wish.of(kind, about, pictures=self.painter is not None)
        if wish.pictures and self.painter:
            can_be_painted(wish, self._profile(session), self.painter)
        self.worker.wish = wish
        self.worker.poke()
        return self.worker.wish

    def vote(self, session: str, pair: str, choice: str, flags: Sequence[tuple[str, str]] = ()) -> Reveal:
        """Store the vote, then tell which arm wrote which side. Raises Refused and stores nothing for anything else."""
        row = self.store.vote(session, pair, choice, flags, kinds=("pair",))
        self._tell(
            vote=row["id"], left=row["left_arm"], right=row["right_arm"], choice=choice, flags=list(flags),
            engine=row["engine"], **({"kind": PICTURE} if row["left_prompt"] else {}),
        )  # fmt: skip
        return self._reveal(choice, row)

    def take_back_vote(self, session: str) -> Reveal:
        """Withdraw the latest vote. The pair is not asked again: its sides have been named, it is blind no more."""
        row = self.store.undo(session, "pair")
        self._tell(undo=row["id"])
        return self._reveal("undone", row)

    def teach_from(self, session: str, pair: str, side: str, on: bool) -> None:
        """Let a text of a pair that was judged teach as a liked card does, or not any more; the vote stays as it is and
        goes on teaching nothing. Raises Refused for anything but one's own judged pair."""
        row = self.store.side_of(session, pair, side)
        if not row:
            raise Refused("judge the pair first: then its texts may teach")
        if row["prompt"]:
            raise Refused("only texts teach: like some in the feed")
        liked = self.store.liked_as_card(session, row["id"])
        if on and not liked:
            text = Candidate(row["id"], row["arm"], row["text"], item_id=row["item_id"])
            card = self.store.show_card(session, text, self.lm.fingerprint)["id"]
            self.store.vote(session, card, "like", kinds=("card",))
        elif liked and not on:
            self.store.undo(session, "card", liked)
        self.worker.poke()

    def _reveal(self, choice: str, row: Row) -> Reveal:
        likes = {side: json.loads(row[f"{side}_evidence"]) for side in ("left", "right")}
        items = self.store.items({i for ids in likes.values() for i in ids})
        sides = []
        for side in ("left", "right"):
            arm, told = row[f"{side}_arm"], [items[i] for i in likes[side] if i in items]
            same = arm in ARMS and row["engine"] == self.lm.fingerprint  # another model counts tokens otherwise
            cut = ARMS[arm].shortened(self.lm, told) if same else 0
            because = tuple(item.text for item in told)
            took = row[f"{side}_tokens"], row[f"{side}_seconds"]
            sides.append(Side(arm, title(arm), because, *took, cut, row[f"{side}_prompt"], row[f"{side}_left_out"]))
        ask = json.loads(row["ask"])
        return Reveal(choice, ask["kind"], ask["payload"], sides[0], sides[1], again=row["purpose"] == "repeat")

    # ---- what came of it

    def outcome(self, session: str, *, pictures: bool = False) -> Outcome:
        """What the person's votes say so far, on texts or on pictures."""
        rows: dict[str, list[Row]] = {}
        for row in self.store.costs(self.store.rater(session)):
            rows.setdefault(row["arm"], []).append(row)
        costs = {
            arm: Cost(len(texts), median(t["tokens"] for t in texts), median(t["seconds"] for t in texts))
            for arm, texts in rows.items()
        }
        main, again = self.store.ballots(pictures=pictures), self.store.ballots("repeat", pictures=pictures)
        return outcome(main, again, costs)

    def taste(self, session: str) -> Taste:
        rater = self.store.rater(session)
        counts, newest = self.store.counts(rater), self.store.latest_summary(rater)
        profile, writer = self.worker.profile, self.worker.writer
        missing, wanted = lacking(self.store, self.lm, profile), {*selected(self.store, rater), HUMAN}
        return Taste(
            **counts,
            topics=tuple(topic.label for topic in profile.topics[:6] if len(topic.examples) > 1),
            summary=newest["text"] if newest else "",
            author=newest["author"] if newest and newest["author"] != LOCAL else "",
            trouble=writer.trouble if writer.permitted() else "",
            waiting=tuple((title(arm), missing[arm]) for arm in [*ARMS, HUMAN] if arm in missing and arm in wanted),
        )

    # ---- which ways take part, and what they learn

    def ways(self, session: str) -> list[Way]:
        """Every way of writing: whether it takes part, why it cannot, and what it has learned."""
        rater, profile = self.store.rater(session), self._profile(session)
        chosen, missing = selected(self.store, rater), lacking(self.store, self.lm, profile)
        told, can, own = [], self.teacher.teachable(), self.teacher.fittable()
        for arm, method in ARMS.items():
            why = missing.get(arm, "")
            note = f"learned ({name[:6]})" if (name := state_name(self.lm, method, self.folder, rater)) else ""
            if note and method.personal:
                note = self._fitted(method, profile)
            told.append(
                Way(arm, title(arm), arm in chosen, "" if why == LEFT_OUT else why, note, arm in can, arm in own)
            )
        return told

    def _profile(self, session: str) -> Profile:
        """The worker's profile with all that was said of likes; where the latest reactions are not in it yet, we wait a
        moment for the worker."""
        rater = self.store.rater(session)
        deadline = time.monotonic() + CATCH_UP
        while True:
            now, seen = (self.store.reactions(rater), self.store.edits(rater)), self.worker.seen
            if now[0] is seen[0] and now[1] == seen[1]:
                break
            if now[1] == seen[1] and (known := remarked(self.worker.profile, seen[0], now[0])):
                return known  # only what was said of likes has changed
            if not self.worker.is_alive() or (left := deadline - time.monotonic()) <= 0:
                break
            self.worker.poke()
            self.worker.wait(min(left, 0.5))
        return self.worker.profile

    def _fitted(self, method: Method, profile: Profile) -> str:
        """On how many likes, as against today: what was fitted stays in use until it is fitted again."""
        likes = int(str(provenance(state_path(self.lm, method, self.folder, profile.user)).get("likes", 0)))
        more = len(likes_of(method, profile)) - likes
        return f"fitted on {likes} of your likes" + (f", {more} like{'s' * (more != 1)} ago" if more > 0 else "")

    def choose(self, session: str, arms: Sequence[str]) -> None:
        """Let these arms take part from the next pair that is written; the floor always does."""
        unknown = set(arms) - ARMS.keys()
        if unknown:
            raise Refused(f"{min(unknown)} is not known here: reload the page")
        self.store.select(self.store.rater(session), arms)
        self.worker.poke()

    def fit(self, session: str, arm: str, stopped: Callable[[], bool]) -> Iterator[Fitting]:
        """Fit a way to this person's likes alone; yields now and then. Raises Refused with the reason."""
        self._can_learn()
        return self.teacher.fit(arm, self._profile(session), stopped)

    def teach(self, session: str, arm: str, population: Path, stopped: Callable[[], bool]) -> Iterator[Fitting]:
        """Teach a way on many people's reactions, a JSONL file as `python -m collectors convert` writes it; yields now
        and then. Raises Refused with the reason."""
        self.store.rater(session)
        self._can_learn()
        if self._guest:
            raise Refused("only whoever runs this app teaches it: fit a way to your own likes instead")
        return self.teacher.teach(arm, population, stopped)

    def _can_learn(self) -> None:
        if lent(self.lm):
            raise Refused(NO_TIME)

    # ---- what may leave this machine

    def sending(self, session: str) -> Sending:
        """What would be sent to whom, and since when it may be."""
        yes = self.store.consent(self.store.rater(session))
        return Sending(self._terms(), yes["at"] if yes and (not self.claude or self.worker.writer.permitted()) else "")

    def agree(self, session: str, yes: bool) -> Sending:
        """Store the person's yes or no; it holds from now on. Raises Refused for a yes where nothing could be sent."""
        rater = self.store.rater(session)
        if yes and not self.claude:
            raise Refused("there is no ANTHROPIC_API_KEY, so nothing could be sent: nothing was stored")
        self.store.say(rater, self.claude.recipient if self.claude else "", yes, self._terms())
        self.worker.writer.start_over()
        self.worker.poke()
        return self.sending(session)

    def _terms(self) -> str:
        return TERMS.format(recipient=self.claude.recipient, model=self.claude.model) if self.claude else ""

    @property
    def folder(self) -> Path:
        """Where everything personal lies."""
        return self.store.db.folder.resolve()

    @property
    def whereabouts(self) -> str:
        """The same in words; tables may stand elsewhere."""
        return f"{self.folder}{self.store.db.elsewhere}"

    def engine_line(self) -> str:
        """Which model writes, and how it runs."""
        return engine_line(self.lm, self.painter)


def engine_line(lm: Backbone, painter: Painter | None) -> str:
    paints = f"; {painter.describe()}" if painter else ""
    return f"{lm.describe()}; likes are seen by {encoder.NAME}{paints}"


def coming_again(main: Sequence[Ballot], again: Sequence[Ballot]) -> list[str]:
    """Judged pairs of which the first will be asked again, when its turn has come: until then nothing may remind the
    person of what they said."""
    at, twice = max(len(main), (len(again) + 1) * REPEAT_EVERY), {ballot.repeats for ballot in again}
    old = main[at - REPEAT_EVERY : at - REPEAT_AFTER]
    return [b.trial for b in old if b.choice != "skip" and b.trial not in twice]
