"""How Reddit is spoken to, for people who hold the credentials of an app there: sign-in, and what goes wrong in words.

PRAW does the talking. Three things of it are bounded here: it looks for settings in files and the environment, its
time-out does not reach every request, and it may sleep for minutes inside a call.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from collectors.item import CollectError
from collectors.web import VERSION

if TYPE_CHECKING:
    import praw

USER_AGENT = f"python:palate:v{VERSION} (personal likes import)"  # the form that Reddit asks for
SCOPES = ["identity", "history", "read", "mysubreddits"]
LASTS = 600.0  # seconds from the beginning of a sign-in to its end
_ENDPOINTS = ("https://oauth.reddit.com", "https://www.reddit.com")


class _Begun(NamedTuple):
    state: str
    until: float
    reddit: "praw.Reddit"
    remember: Callable[[str], None] | None


class SignIn:
    """The way over Reddit's own page. Tokens stay in memory, inside the object that `finish` returns.

    `endpoints` (for what needs a token, for the rest), `seconds` of a request and `clock` are for tests.
    """

    def __init__(
        self,
        *,
        endpoints: tuple[str, str] = _ENDPOINTS,
        seconds: float = 16.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints, self._seconds, self._clock = endpoints, seconds, clock
        self._begun: dict[str, _Begun] = {}  # by session: a new beginning ends the former
        self._lock = threading.Lock()

    def begin(
        self,
        client_id: str,
        client_secret: str | None,
        redirect_uri: str,
        session: str,
        remember: Callable[[str], None] | None = None,
    ) -> str:
        """The address to send the person to. `client_secret` is None for an installed app, `redirect_uri` exactly as
        Reddit knows it. With `remember` the access lasts, and `finish` calls it with the token for `resume`.
        """
        reddit = self._connected(client_id, client_secret, redirect_uri=redirect_uri)
        state = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            self._begun = {key: begun for key, begun in self._begun.items() if begun.until > now}
            self._begun[session] = _Begun(state, now + LASTS, reddit, remember)
        return reddit.auth.url(scopes=SCOPES, state=state, duration="permanent" if remember else "temporary")

    def finish(self, session: str, state: str, code: str) -> "praw.Reddit":
        """Signed in, for one thread. Raises CollectError if this is not the end of what the session began."""
        with self._lock:
            begun = self._begun.get(session)
            if not begun or not secrets.compare_digest(begun.state.encode(), state.encode(errors="replace")):
                raise CollectError("This answer does not belong to a sign-in that began here: sign in again.")
            del self._begun[session]
        if begun.until <= self._clock():
            raise CollectError(f"The sign-in took more than {LASTS / 60:.0f} minutes: sign in again.")
        if not code:
            raise CollectError("Reddit gave no permission: sign in again and allow it there.")
        _, prawcore = praw_and_core()
        try:
            token = begun.reddit.auth.authorize(code)
        except Exception as error:
            status = status_of(error)
            if status == 401:
                raise CollectError("Reddit does not know this app: check its id and secret.") from None
            if isinstance(error, prawcore.OAuthException) or status == 400:
                raise CollectError("Reddit did not accept the code, it may be used already: sign in again.") from None
            raise told(error) from error
        if begun.remember and token:
            begun.remember(token)
        return begun.reddit

    def resume(self, client_id: str, client_secret: str | None, token: str) -> "praw.Reddit":
        """Signed in as before, with the token that was remembered; whether it still holds shows at the first list."""
        return self._connected(client_id, client_secret, refresh_token=token)

    def _connected(self, client_id: str, client_secret: str | None, **settings: str) -> "praw.Reddit":
        if not client_id.strip():
            raise CollectError("The id of your app is missing: copy it from reddit.com/prefs/apps.")
        praw, prawcore = praw_and_core()
        seconds = self._seconds

        class Requestor(prawcore.Requestor):  # type: ignore[misc,name-defined]
            def request(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
                # PRAW passes its own constant for all but tokens, so what it passes does not count.
                response = super().request(*args, timeout=seconds, **kwargs)
                if _number(response.headers.get("x-ratelimit-remaining")) == 0:
                    # prawcore would sleep until the budget is new, up to ten minutes; a refusal says it in words
                    del response.headers["x-ratelimit-remaining"]
                return response

        oauth_url, reddit_url = self._endpoints
        # Every setting by name: what is not given would be looked for in praw.ini and the environment.
        given: dict[str, str | bool | int | None] = dict.fromkeys(
            ("username", "password", "refresh_token", "redirect_uri")
        )
        given |= {"client_id": client_id.strip(), "client_secret": client_secret or None, "user_agent": USER_AGENT}
        given |= {"oauth_url": oauth_url, "reddit_url": reddit_url, "ratelimit_seconds": 5, "timeout": 16}
        given |= {"check_for_updates": False, "check_for_async": False, "window_size": 600, **settings}
        return praw.Reddit("DEFAULT", requestor_class=Requestor, **given)  # type: ignore[no-any-return]


class Closed(CollectError):
    """This account may not see it, or it is not there."""


def praw_and_core() -> tuple[ModuleType, ModuleType]:
    """Imported when Reddit is asked, so that nobody else needs the library."""
    try:
        import praw
        import prawcore
    except ImportError:
        raise CollectError("Reddit's interface needs PRAW: pip install -r requirements-sources.txt.") from None
    return praw, prawcore


def status_of(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def wait_of(error: Exception) -> float | None:
    """Seconds that Reddit asks to wait, None if it does not."""
    if status_of(error) != 429:
        return None
    headers = error.response.headers  # type: ignore[attr-defined]
    return _number(headers.get("retry-after") or headers.get("x-ratelimit-reset"))


def _number(said: str | None) -> float | None:
    return float(said) if said and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", said, re.ASCII) else None


def told(error: Exception, kept: int = 0) -> CollectError:
    """What went wrong, in one sentence."""
    _, prawcore = praw_and_core()
    status, wait = status_of(error), wait_of(error)
    so_far = f" after {kept} items" if kept else ""
    if isinstance(error, prawcore.InsufficientScope):
        return CollectError("This sign-in does not cover the history: sign in again and allow all that is asked.")
    # A token that cannot be renewed is an InvalidInvocation, one that may not any more a refusal of the renewal.
    if isinstance(error, (prawcore.InvalidInvocation, prawcore.OAuthException)) or status in (400, 401):
        return CollectError(f"Reddit does not accept this sign-in any more{so_far}: sign in again.")
    if isinstance(error, (prawcore.Forbidden, prawcore.NotFound, prawcore.Redirect)):
        return Closed(f"Reddit does not show this to the account{so_far} (status {status}): look there in a browser.")
    if status == 429:
        when = f"in {wait:.0f} seconds" if wait is not None else "in ten minutes"
        return CollectError(f"Reddit is asked too much{so_far}: try again {when}.")
    if isinstance(error, prawcore.RequestException):
        return CollectError(f"Reddit cannot be reached or broke off{so_far}: try again later.")
    if status >= 500:
        return CollectError(f"Reddit has a fault{so_far} (status {status}): try again later.")
    return CollectError(f"Reddit gave an answer that cannot be read{so_far}: try again later.")
