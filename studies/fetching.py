"""Texts for items that came without one: asked for at their source or read from a dump, when the person says so."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from collectors.captions import captions
from collectors.item import CollectError, Item
from collectors.reddit_texts import from_dump, from_service
from studies.importing import Saved
from studies.store import Refused, Store

EVERY = 25  # texts that are kept at a time, so that a stop loses none


class Fetching:
    """What is fetched is on disk after every EVERY texts and asked for once; the next call goes on."""

    def __init__(self, store: Store, changed: Callable[[], None]) -> None:
        self.store, self._changed = store, changed

    def waiting(self, session: str) -> dict[str, int]:
        """How many items of a source have no text, or only the words of a link."""
        found = {"tiktok": 0, "reddit": 0}
        for item in self._items(session, tuple(found)):
            found[item.source] += 1
        return found

    def captions(self, session: str, stopped: Callable[[], bool]) -> Iterator[Saved]:
        """Ask TikTok for the captions of liked videos, the latest first; then for those watched. Raises Refused."""
        wanted = {item.source_id: item for item in self._items(session, ("tiktok",))}
        got = captions(wanted, self.store.db.folder / "texts", stopped=stopped)
        yield from self._keep(session, len(wanted), (replace(wanted[i], text=text) for i, text in got if text))

    def reddit(self, session: str, dump: Path | None, stopped: Callable[[], bool]) -> Iterator[Saved]:
        """Look the full texts of Reddit posts up, in a dump if there is one and else at the Arctic Shift archive. What
        was removed there is dropped here. Raises Refused."""
        wanted = {item.source_id: item for item in self._items(session, ("reddit",))}
        cache = self.store.db.folder / "texts"
        texts = from_dump(dump, wanted) if dump else from_service(wanted, cache=cache, stopped=stopped)
        yield from self._keep(session, len(wanted), iter(texts))
        self.store.drop_texts([wanted[name].id for name in texts.removed])
        self._changed()

    def _keep(self, session: str, of: int, items: Iterator[Item]) -> Iterator[Saved]:
        rater, batch, saved = self.store.rater(session), list[Item](), 0
        try:
            for item in items:
                batch.append(item)
                if len(batch) == EVERY:
                    saved += self.store.add(rater, ((item, None) for item in batch))
                    batch.clear()
                    yield Saved(saved, of)
        except CollectError as error:
            raise Refused(f"{str(error).rstrip('.')}; {saved + len(batch)} texts are kept") from error
        finally:
            saved += self.store.add(rater, ((item, None) for item in batch))
            self._changed()
        yield Saved(saved, of)

    def _items(self, session: str, sources: tuple[str, ...]) -> list[Item]:
        """Likes and dislikes before what was only met, of each the latest first."""
        reactions = [
            pair for pair in reversed(self.store.reactions(self.store.rater(session))) if pair[0].source in sources
        ]
        reactions.sort(key=lambda pair: pair[1].sign == 0)
        return [item for item, _ in reactions if item.stand_in or not item.text]
