"""Signing in at Reddit from the page, and looking into the account's lists. What Reddit grants stays in memory, unless
the person asks to stay signed in: then it lies in one file of the data folder until they forget or delete it.
"""

import json
import os
from contextlib import suppress
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
    """One sign-in a session, one remembered for the data folder. `sign_in` is for tests."""

    def __init__(self, store: Store, imports: Imports, sign_in: SignIn | None = None) -> None:
        self.store, self.imports = store, imports
        self._sign_in = sign_in or SignIn()
        self._open: dict[str, praw.Reddit] = {}
        self._kept = store.db.folder / "reddit.json"

    def begin(self, session: str, client_id: str, client_secret: str, app: str, stay: bool = False) -> str:
        """Reddit's page that asks the person; `app` is the address of this one. With `stay` the access outlives the
        app, readable for this user of the machine alone. Raises Refused."""
        self.store.rater(session)
        secret, back = client_secret.strip() or None, app.rstrip("/") + BACK

        def remember(token: str) -> None:
            self._keep({"client_id": client_id, "client_secret": secret, "token": token})

        try:
            return self._sign_in.begin(client_id, secret, back, session, remember if stay else None)
        except CollectError as error:
            raise Refused(str(error)) from error

    def finish(self, session: str, state: str, code: str) -> None:
        """The answer that the browser came back with. Raises Refused for one that is not of this session's sign-in."""
        try:
            self._open[session] = self._sign_in.finish(session, state, code)
        except CollectError as error:
            raise Refused(str(error)) from error

    def look(self, session: str) -> Preview:
        """Look into the account's lists and its communities. An access is used once and forgotten, but for one that is
        kept. Raises Refused."""
        self.store.rater(session)
        reddit = self._open.pop(session, None) or self._resumed()
        if reddit is None:
            raise Refused("sign in at Reddit first")
        return self.imports.look_into(session, "Reddit", RedditApi(reddit, candidates=CANDIDATES))

    def forget(self) -> None:
        """Keep no access any more, on disk or in memory."""
        self._open.clear()
        with suppress(FileNotFoundError):
            self._kept.unlink()

    def _keep(self, access: dict[str, str | None]) -> None:
        part = self._kept.with_suffix(".part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(access, file)
            part.replace(self._kept)
        except OSError as error:
            raise Refused(f"the sign-in cannot be kept ({error.strerror}): sign in without staying") from error

    def _resumed(self) -> "praw.Reddit | None":
        try:
            return self._sign_in.resume(**json.loads(self._kept.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, CollectError) as error:
            raise Refused("the sign-in that was kept cannot be read: forget it and sign in anew") from error
