"""Pictures: any text-to-image pipeline of diffusers, by folder or hub id, and what it is told of a person.

Two ways, apart in the prompt alone: model, size, steps and seed are the same for both sides of a pair.
"""

import hashlib
import inspect
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.alone import Alone
from engine.catalog import free_memory
from engine.methods.base import Ask
from engine.plan import HEADROOM, plan, short
from engine.profile import Profile, representatives
from engine.summary import sentences
from engine.weights import Weights

TOPIC, TASTE = "picture-topic", "picture-taste"
TITLES = {TOPIC: "a picture without your profile", TASTE: "a picture with your taste in its prompt"}  # after the vote
LEAD = " For a person of this taste: "
FEW_STEPS = 4  # up to which a model was distilled to go without guidance, as its authors say of each such model
ENDLESS = 10**6  # tokens: tokenizers without a limit name a number beyond all reason
Fits = Callable[[str], bool]
_alone = Alone("painter")


class PictureError(RuntimeError):
    """No picture can be painted. The message is one sentence that says what to do."""


class Stopped(Exception):
    """It was ended between two steps; nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is told. `evidence` are ids of the likes that it comes from, `left_out` how many statements of the
    person's taste were left out, whole, because they did not fit."""

    text: str
    evidence: tuple[str, ...] = ()
    left_out: int = 0


def lacks(profile: Profile) -> str | None:
    """Why there is nothing to tell of this person, in words; None where there is."""
    return None if _told(profile) else "nothing is known of your taste yet: like three cards first"


def prompt_of(arm: str, ask: Ask, profile: Profile, fits: Fits) -> Prompt:
    """The prompt of TOPIC or TASTE; both begin alike. Raises PictureError where it cannot be whole."""
    begins = ask.instruction()
    if not fits(begins):
        raise PictureError("that is too long for the image model: name it in fewer words")
    if arm == TOPIC:
        return Prompt(begins)
    if why := lacks(profile):
        raise PictureError(why)
    without = 0
    for statements, between, evidence in _told(profile):
        kept: list[str] = []
        for statement in statements:
            if fits(begins + LEAD + between.join([*kept, statement])):
                kept.append(statement)
        if kept:
            return Prompt(begins + LEAD + between.join(kept), evidence, without + len(statements) - len(kept))
        without += len(statements)
    raise PictureError("no statement about your taste fits into the image model's prompt: name a shorter subject")


def _told(profile: Profile) -> list[tuple[list[str], str, tuple[str, ...]]]:
    """Statements about a person, what goes between them, and the likes they come from: those of the summary, and for
    where there is none, or none of them fits, names of topics."""
    liked = [item.id for item in profile.liked]
    drawn = profile.summary_evidence or tuple(item.id for item in representatives(profile))
    topics = [topic for topic in profile.topics if len(topic.examples) > 1]
    shown = {item.id for topic in topics for item in topic.examples}
    found = [
        (sentences(profile.summary), " ", tuple(one for one in liked if one in drawn)),
        ([topic.label for topic in topics], ", ", tuple(one for one in liked if one in shown)),
    ]
    return [told for told in found if told[0]]


class Painter:
    """A loaded pipeline. Steps are its own to choose unless `steps` says how many; one call paints at a time."""

    def __init__(self, pipe: Any, name: str, steps: int | None = None) -> None:
        self.pipe, self.name = pipe, name
        self._takes = inspect.signature(pipe.__call__).parameters
        self.steps = steps or int(self._takes["num_inference_steps"].default)
        self._guidance = {"guidance_scale": 0.0} if self.steps <= FEW_STEPS else {}
        self._read = self._readers()
        self.fingerprint = self._fingerprint()

    @classmethod
    def load(cls, model: str, steps: int | None = None) -> "Painter":
        """A folder or a hub id, weights as safetensors only. Raises PictureError."""
        if find_spec("diffusers") is None:
            raise PictureError("--image-model needs diffusers: pip install -r requirements-image.txt")
        from diffusers import AutoPipelineForText2Image
        from diffusers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        how = plan("none")
        dtype = torch.bfloat16 if how.device == "cuda" else torch.float32
        found = _find(model)
        _check_room(found, dtype, how.device)
        try:
            pipe = AutoPipelineForText2Image.from_pretrained(
                found.folder, use_safetensors=True, dtype=dtype, local_files_only=True
            ).to(how.device)
            pipe.set_progress_bar_config(disable=True)
            return cls(pipe, found.name, steps)
        except Exception as error:  # a stranger's folder can hold anything, and the libraries raise as many types
            why = (str(error) or type(error).__name__).splitlines()[0][:200]
            raise PictureError(
                f"{model} cannot be loaded as a text-to-image model ({why}): "
                "choose another with --image-model, or leave it out"
            ) from error

    def tokens(self, prompt: str) -> int:
        """How many tokens its strictest text encoder reads, marks of beginning and end among them."""
        return max((len(tokenizer(prompt).input_ids) for tokenizer, _ in self._read), default=0)

    def fits(self, prompt: str) -> bool:
        """Whether each of its text encoders reads the whole prompt."""
        return all(len(tokenizer(prompt).input_ids) <= most for tokenizer, most in self._read)

    def _readers(self) -> list[tuple[Any, int]]:
        """Each tokenizer, and how many tokens of it are read. Copies: the pipeline sets padding on its own while it
        reads a prompt, and who counts in another thread would take that off again."""
        asked = self._takes.get("max_sequence_length")
        most = asked.default if asked and isinstance(asked.default, int) else ENDLESS
        found = [part for name, part in self.pipe.components.items() if name.startswith("tokenizer") and part]
        return [(deepcopy(tokenizer), min(tokenizer.model_max_length, most)) for tokenizer in found]

    def paint(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        stopped: Callable[[], bool] = lambda: False,
        on_step: Callable[[int, int], None] = lambda done, of: None,
    ) -> list[bytes]:
        """One PNG a prompt, all of one size, which is the model's own; nothing else stands in their files.

        Painted one by one, each from a generator of its own on the CPU: a picture depends on its prompt and seed alone.
        `on_step` hears of steps done, of how many. Raises Stopped after `stopped`.
        """
        of = self.steps * len(prompts)

        def one(n: int) -> bytes:
            def step_ended(pipe: Any, step: int, time: Any, told: dict[str, Any]) -> dict[str, Any]:
                if stopped():
                    raise Stopped
                on_step(min(n * self.steps + step + 1, of), of)
                return told

            if stopped():
                raise Stopped
            source = torch.Generator("cpu").manual_seed(seeds[n])
            told = {"num_inference_steps": self.steps, "callback_on_step_end": step_ended, **self._guidance}
            known = {name: value for name, value in told.items() if name in self._takes}
            return _png(self.pipe(prompts[n], generator=source, **known).images[0])

        return _alone.do(lambda: [one(n) for n in range(len(prompts))])

    def _fingerprint(self) -> str:
        """Names what painted a picture, as `Backbone._fingerprint` does for texts."""
        facts = f"{self.name}|{type(self.pipe).__name__}|{self.pipe.dtype}|{self.pipe.device}|{self.steps}|"
        digest = hashlib.sha256((facts + version("diffusers")).encode())
        for _, part in sorted(self.pipe.components.items()):
            for parameter in part.parameters() if isinstance(part, torch.nn.Module) else ():
                some = parameter.detach().flatten()[:: max(1, parameter.numel() // 64)]
                digest.update(some.float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """What the start line and the About page say."""
        return f"{self.name} paints, {self.steps} steps, {short(self.pipe.dtype)} on {self.pipe.device}"


def _find(model: str) -> Weights:
    """Where the pipeline lies; from the hub it is fetched first."""
    path = Path(model).expanduser()
    if path.exists() or model.startswith((".", "/", "~")):
        if not (path / "model_index.json").is_file():
            raise PictureError(
                f"{path} is no folder of a text-to-image model (it has no model_index.json): name the folder itself "
                "after --image-model"
            )
        return Weights(path.resolve().name, path)
    from diffusers import DiffusionPipeline

    try:
        return Weights(model, Path(DiffusionPipeline.download(model, use_safetensors=True)))
    except Exception as error:  # of the network, of the hub, of a repository that holds something else
        raise PictureError(
            f"{model} is not in the hub cache and could not be fetched ({type(error).__name__}): check --image-model "
            "and the network, or give it a local folder"
        ) from error


def _check_room(found: Weights, dtype: torch.dtype, device: str) -> None:
    """Raises PictureError where the weights need more memory than is free: the language model is there already."""
    from safetensors import safe_open

    numbers = 0
    for path in found.folder.glob("*/*.safetensors"):
        if "." in path.stem:  # the same weights once more, in another precision
            continue
        with safe_open(path, "pt") as file:
            numbers += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    needs, free = int(numbers * dtype.itemsize * HEADROOM), free_memory(device)
    if needs > free:
        raise PictureError(
            f"{found.name} needs {needs / 1e9:.1f} GB, {free / 1e9:.1f} free: name a smaller --image-model or --model"
        )


def _png(image: Any) -> bytes:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(np.asarray(image.convert("RGB"))).save(out, "PNG")  # made anew: nothing that came with it is left
    return out.getvalue()


def one_colour(picture: bytes) -> bool:
    """Whether there is nothing on it, as a model's own safety checker leaves it."""
    from PIL import Image

    with Image.open(BytesIO(picture)) as image:
        return not np.ptp(np.asarray(image), axis=(0, 1)).any()
