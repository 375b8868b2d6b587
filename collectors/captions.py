"""Captions of TikTok videos, by the service that TikTok offers to pages which embed them (oEmbed): no key, no account.

An export holds links only. A caption with its hashtags is what a model of text can use of a video.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import ExitStack
from pathlib import Path

from collectors.guard import Unreachable
from collectors.item import CollectError, clean_text
from collectors.kept import Kept
from collectors.web import Web, pause

MAX_WORKERS = 4
MAX_TROUBLE = 3  # failures in a row, and refusals for haste in a row, after which we stop asking
MAX_TRIES = 2  # of one video
PAUSE = 5.0  # seconds to wait where the service says "too many" and not how long
GONE = (400, 404)


def captions(
    ids: Iterable[str],
    cache: Path,
    *,
    web: Web | None = None,
    base: str = "https://www.tiktok.com/oembed",
    workers: int = MAX_WORKERS,
    wait: float = 120.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, str | None]]:
    """Each video's caption as it comes, None for a video that is gone; those in the folder `cache` come first.

    At most four questions are on their way at once. A service that asks for patience gets it, up to `wait` seconds.
    Raises CollectError when it fails three times in a row, or always: what came is kept, and the next call goes on from
    there. A video that fails twice is left for that call. To stop early, close the iterator or let `stopped` say so.
    """
    with ExitStack() as stack:
        kept = stack.enter_context(Kept(cache / "tiktok-captions.jsonl"))
        missing = []
        for video in dict.fromkeys(ids):
            if video in kept:
                yield video, kept[video]
            else:
                missing.append(video)
        if missing:
            asking = _Asking(web or stack.enter_context(Web()), base, deque(missing), wait, stopped)
            for video, caption in asking.run(min(workers, MAX_WORKERS)):
                kept.keep(video, caption)
                yield video, caption


class _Busy(Exception):
    """The service says that we ask too much; holds the seconds to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class _Asking:
    """One run over the videos that are not known yet."""

    def __init__(self, web: Web, base: str, videos: deque[str], longest: float, stopped: Callable[[], bool]) -> None:
        self._web, self._base, self._videos, self._longest, self._stopped = web, base, videos, longest, stopped
        self._tries: Counter[str] = Counter()
        self._total, self._got, self._trouble = len(videos), 0, 0
        self._why = ""  # the latest failure
        self._resume = 0.0  # monotonic; nothing is asked before

    def run(self, workers: int) -> Iterator[tuple[str, str | None]]:
        under_way: dict[Future[str | None], str] = {}
        with ThreadPoolExecutor(workers, "captions") as pool:
            while (self._videos or under_way) and not self._stopped():
                patience = self._resume - time.monotonic()
                while self._videos and patience <= 0 and len(under_way) < workers:
                    video = self._videos.popleft()
                    under_way[pool.submit(self._ask, video)] = video
                if not under_way:
                    pause(patience, self._stopped)
                    continue
                for future in wait_for(under_way, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    video = under_way.pop(future)
                    try:
                        caption = future.result()
                    except _Busy as busy:
                        self._slow_down(video, busy.seconds)
                    except Unreachable as error:
                        self._failed(video, error)
                    else:
                        self._trouble = 0
                        self._got += 1
                        yield video, caption
        if self._trouble and not self._got and not self._stopped():
            raise self._given_up(self._why)

    def _ask(self, video: str) -> str | None:
        answer = self._web.get(self._base, params={"url": f"https://www.tiktok.com/video/{video}"})
        if answer.status == 429:
            said = answer.retry_after()
            raise _Busy(PAUSE if said is None else said)
        if answer.status in GONE:
            return None
        told = answer.json() if answer.status == 200 else None
        if not isinstance(told, dict) or not isinstance(told.get("title"), str):
            raise Unreachable(f"TikTok answered with status {answer.status} and no caption")
        return clean_text(told["title"])

    def _slow_down(self, video: str, seconds: float) -> None:
        self._videos.appendleft(video)
        if self._resume <= time.monotonic():  # else it is one more answer to the same haste
            self._trouble += 1
        if seconds > self._longest:
            raise self._given_up(f"TikTok asks to wait {seconds / 60:.0f} minutes")
        if self._trouble >= MAX_TROUBLE:
            raise self._given_up("TikTok says again and again that it is asked too much")
        self._resume = max(self._resume, time.monotonic() + seconds)

    def _failed(self, video: str, error: Unreachable) -> None:
        self._trouble += 1
        self._why = str(error).partition(": ")[0]
        if self._trouble >= MAX_TROUBLE:
            raise self._given_up(self._why)
        self._tries[video] += 1
        if self._tries[video] < MAX_TRIES:
            self._videos.append(video)

    def _given_up(self, why: str) -> CollectError:
        return CollectError(
            f"{why}: {self._got} of {self._total} captions came and are kept. Start again later to go on from there."
        )
