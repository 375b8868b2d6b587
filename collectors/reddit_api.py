"""The lists of a Reddit account, and posts of its communities, through Reddit's own interface (reddit_access.py)."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from collectors.item import CollectError, Item, Signal
from collectors.listed import Listed, Reading
from collectors.reddit_access import Closed, told, wait_of
from collectors.reddit_rows import FULLNAME, item_of

if TYPE_CHECKING:
    import praw

MAX_WAIT = 30.0  # seconds that Reddit may ask us to wait; longer ones are the person's to wait
MOST = 1000  # things that Reddit shows of one list
MAX_COMMUNITIES = 20
SHOWN = {"upvoted": (1, 1.0), "downvoted": (-1, 1.0), "saved": (1, 1.0), "hidden": (0, 0.3)}  # sign and strength


class RedditApi(Listed):
    """The newest things of an account's own lists, at most `limit` (1000 is all that Reddit shows) of each, and
    `candidates` posts of "hot" and "top" in each of 20 communities of the account, without a reaction.

    A pass yields as it goes: what came before a break has been given. It raises CollectError, in one thread. After a
    pass `notes` says which lists and communities were closed to it. `sleep` is for tests.
    """

    source = "reddit_api"

    def __init__(
        self,
        reddit: "praw.Reddit",
        lists: Sequence[str] = tuple(SHOWN),
        limit: int = MOST,
        candidates: int = 0,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        if unknown := set(lists).difference(SHOWN):
            raise CollectError(f"{', '.join(sorted(unknown))} is no list of Reddit: name {', '.join(SHOWN)}.")
        self._reddit, self._lists, self._sleep = reddit, lists, sleep
        self._limit, self._candidates = min(limit, MOST), min(candidates, MOST)
        self.notes: tuple[str, ...] = ()

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        self.notes = ()
        me = self._asked(self._reddit.user.me)
        closed = 0
        for name in self._lists:
            opened = yield from self._listed(name, f"the list {name}", getattr(me, name)(limit=self._limit))
            closed += not opened
        if self._lists and closed == len(self._lists):
            raise CollectError("Reddit shows none of these lists to this app: sign in again and allow the history.")
        if self._candidates < 1:
            return
        for place in list(self._things(self._reddit.user.subreddits(limit=MAX_COMMUNITIES))):
            if (yield from self._listed("hot", f"r/{place}", place.hot(limit=self._candidates))):
                yield from self._listed("top", f"r/{place}", place.top(time_filter="month", limit=self._candidates))

    def _listed(self, name: str, what: str, listing: Any) -> Generator[tuple[str, Reading], None, bool]:
        """Yields what can be read and returns whether it was open. Reddit refuses at the first page, not before."""
        try:
            for thing in self._things(listing):
                yield name, _reading(name, thing)
        except Closed:
            self.notes += (f"{what} is closed",)
            return False
        return True

    def _things(self, listing: Any) -> Iterator[Any]:
        # A listing can be asked again for the page that failed: it moves on only after one that came.
        while (thing := self._asked(lambda: next(listing, None))) is not None:
            yield thing

    def _asked(self, question: Callable[[], Any]) -> Any:
        """The answer; a short wait that Reddit asks for is kept, once."""
        for again in (True, False):
            try:
                return question()
            except Exception as error:  # PRAW trusts the shape of answers: a wrong one may raise anything
                wait = wait_of(error)
                if not again or wait is None or wait > MAX_WAIT:
                    raise told(error, self._tally.kept) from error
                self._sleep(wait)


def _reading(name: str, thing: Any) -> Reading:
    # Only what came with the listing: PRAW asks Reddit once more for an attribute that is missing.
    row = vars(thing) if hasattr(thing, "__dict__") else {}
    fullname = row.get("name")
    if not isinstance(fullname, str) or not FULLNAME.fullmatch(fullname):
        return "neither a post nor a comment"
    item = item_of(fullname, row)
    if not isinstance(item, Item):
        return "deleted"
    if name not in SHOWN:
        return item, None
    sign, strength = SHOWN[name]
    # The origins are those of the data export: both speak of the same votes. When it was, Reddit does not tell.
    origin = f"reddit:{item.kind}_votes" if name.endswith("voted") else f"reddit:{name}_{item.kind}s"
    return item, Signal(item.id, sign, strength, origin=origin)
