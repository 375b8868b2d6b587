"""Pictures by a tiny random pipeline: what a picture depends on, what its file says, what the model is told."""

import struct
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

import engine.pictures
from engine.methods.base import Ask
from engine.pictures import LEAD, TASTE, TOPIC, Painter, PictureError, Stopped, lacks, one_colour, prompt_of
from engine.profile import Profile
from tests.tiny_pictures import ROUNDING, apart

CAT = Ask(kind="picture", payload="a cat on a train", seed=5)


@pytest.fixture(scope="module")
def painter(tiny_pipeline: Path) -> Painter:
    return Painter.load(str(tiny_pipeline), 2)


def chunks(png: bytes) -> list[bytes]:
    """Names of the parts of a PNG file."""
    found, at = [], 8
    while at < len(png):
        length, name = struct.unpack_from(">I4s", png, at)
        found.append(name)
        at += 12 + length
    return found


def test_a_picture_depends_on_prompt_and_seed_alone(painter: Painter) -> None:
    first, second = painter.paint(["a cat", "a dog in the rain"], [7, 7])
    [alone], [other] = painter.paint(["a dog in the rain"], [7]), painter.paint(["a cat"], [8])
    assert apart(alone, second) <= ROUNDING, "not on what is painted beside it"
    assert apart(first, second) > ROUNDING, "the prompt tells"
    assert apart(first, other) > ROUNDING, "the seed tells"


def test_the_files_of_both_sides_are_alike_and_say_nothing(painter: Painter) -> None:
    pictures = painter.paint(["a cat", "a dog of which much more is said"], [1, 1])
    assert [set(chunks(png)) for png in pictures] == [{b"IHDR", b"IDAT", b"IEND"}] * 2
    told = [Image.open(BytesIO(png)) for png in pictures]
    assert [(image.size, image.mode, image.info) for image in told] == [((64, 64), "RGB", {})] * 2


def test_it_tells_how_far_it_is_and_stops_between_two_steps(painter: Painter) -> None:
    told: list[tuple[int, int]] = []
    painter.paint(["a cat", "a dog"], [1, 1], on_step=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    del told[:]
    with pytest.raises(Stopped):
        painter.paint(["a cat", "a dog"], [1, 1], lambda: len(told) == 3, lambda done, of: told.append((done, of)))
    assert len(told) == 3
    [before], [after] = painter.paint(["a cat"], [1]), painter.paint(["a cat"], [1])
    assert apart(before, after) <= ROUNDING, "a stop leaves nothing behind"


def test_few_steps_go_without_guidance_as_distilled_models_want(painter: Painter, tiny_pipeline: Path) -> None:
    assert painter._guidance == {"guidance_scale": 0.0}
    many = Painter(painter.pipe, "many", 5)
    assert many._guidance == {}
    assert Painter.load(str(tiny_pipeline)).steps == 50, "the pipeline's own"
    assert Painter(painter.pipe, painter.name, 2).fingerprint == painter.fingerprint != many.fingerprint


def test_a_picture_of_one_colour_is_none(painter: Painter) -> None:
    black = BytesIO()
    Image.new("RGB", (8, 8)).save(black, "PNG")
    assert one_colour(black.getvalue())
    assert not one_colour(painter.paint(["a cat"], [1])[0])


# ---- what the model is told


def test_without_the_profile_nothing_of_it_is_told(painter: Painter, profile: Profile) -> None:
    assert prompt_of(TOPIC, CAT, profile, painter.fits).text == "A funny picture: a cat on a train."


def test_the_summary_stands_in_the_prompt_and_says_from_which_likes(profile: Profile) -> None:
    told = prompt_of(TASTE, CAT, profile, lambda prompt: True)
    assert told.text == f"A funny picture: a cat on a train.{LEAD}{profile.summary}"
    assert told.left_out == 0
    assert set(told.evidence) <= {item.id for item in profile.liked}
    assert told.evidence


def test_what_does_not_fit_is_left_out_by_whole_statements_and_counted(painter: Painter, profile: Profile) -> None:
    long = "They like " + "very " * 40 + "long jokes."
    longer = replace(profile, summary=f"This person likes jokes. {long} They like puns.")
    told = prompt_of(TASTE, CAT, longer, painter.fits)
    assert told.text.endswith(f"{LEAD}This person likes jokes. They like puns.")
    assert told.left_out == 1
    assert painter.tokens(told.text) <= 77 < painter.tokens(f"{told.text} {long}")
    assert painter.fits(told.text)


def test_without_a_summary_names_of_topics_serve_and_without_both_it_says_what_to_do(profile: Profile) -> None:
    topic = replace(profile.topics[0], label="printers", examples=profile.liked[:2])
    other = replace(topic, label="cats")
    known = replace(profile, summary="", topics=(topic, other))
    told = prompt_of(TASTE, CAT, known, lambda prompt: True)
    assert told.text.endswith(f"{LEAD}printers, cats")
    assert told.evidence == tuple(item.id for item in profile.liked[:2])
    assert lacks(known) is None
    long = replace(known, summary="This person likes very long sentences.")
    short = prompt_of(TASTE, CAT, long, lambda prompt: "very long" not in prompt)
    assert (short.text, short.left_out) == (told.text, 1), "the sentence that did not fit is counted"
    with pytest.raises(PictureError, match="like three cards first"):
        prompt_of(TASTE, CAT, Profile("nobody"), lambda prompt: True)


def test_a_subject_that_does_not_fit_is_refused_and_never_cut(painter: Painter, profile: Profile) -> None:
    with pytest.raises(PictureError, match="name it in fewer words"):
        prompt_of(TOPIC, replace(CAT, payload="xyz " * 26), profile, painter.fits)
    with pytest.raises(PictureError, match="name a shorter subject"):
        prompt_of(TASTE, CAT, profile, lambda prompt: LEAD not in prompt)


# ---- what cannot be loaded


def test_what_is_missing_is_said_in_one_sentence(
    painter: Painter, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PictureError, match=r"model_index.json.*--image-model"):
        Painter.load(str(tmp_path))
    painter.pipe.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(PictureError, match=r"cannot be loaded as a text-to-image model.*safetensors"):
        Painter.load(str(tmp_path / "pickled"))
    monkeypatch.setattr(engine.pictures, "free_memory", lambda device: 1_000)
    with pytest.raises(PictureError, match=r"GB, 0.0 free: name a smaller"):
        Painter.load(str(tiny_pipeline))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PictureError, match="could not be fetched"):
        Painter.load("nobody/such-a-thing")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setattr(engine.pictures, "find_spec", lambda name: None)
    with pytest.raises(PictureError, match=r"pip install -r requirements-image.txt"):
        Painter.load(str(tiny_pipeline))
