"""Signing in at Reddit from the page, and looking into the account's lists. What Reddit grants stays in memory."""

from typing import TYPE_CHECKING

from collectors.item import CollectError
from collectors.reddit_access import SignIn
from collectors.reddit_api import RedditApi
from studies.importing import Imports, Preview
from studies.store import Refused, Store

if TYPE_CHECKING:
    import praw

BACK = "/reddit/signed-in"  # where Reddit sends the browser back to, at this app's own address
CANDIDATES = 25  # posts of each list of each community that the account is subscribed to


class RedditDoor:
    """One sign-in a session. `sign_in` is for tests."""

    def __init__(self, store: Store, imports: Imports, sign_in: SignIn | None = None) -> None:
        self.store, self.imports = store, imports
        self._sign_in = sign_in or SignIn()
        self._open: dict[str, praw.Reddit] = {}

    def begin(self, session: str, client_id: str, client_secret: str, app: str) -> str:
        """Reddit's page that asks the person; `app` is the address of this one. Raises Refused."""
        self.store.rater(session)
        try:
            return self._sign_in.begin(client_id, client_secret.strip() or None, app.rstrip("/") + BACK, session)
        except CollectError as error:
            raise Refused(str(error)) from error

    def finish(self, session: str, state: str, code: str) -> None:
        """The answer that the browser came back with. Raises Refused for one that is not of this session's sign-in."""
        try:
            self._open[session] = self._sign_in.finish(session, state, code)
        except CollectError as error:
            raise Refused(str(error)) from error

    def look(self, session: str) -> Preview:
        """Look into the account's lists and its communities; the access is used once and forgotten. Raises Refused."""
        reddit = self._open.pop(session, None)
        if reddit is None:
            raise Refused("sign in at Reddit first")
        return self.imports.look_into(session, "Reddit", RedditApi(reddit, candidates=CANDIDATES))
