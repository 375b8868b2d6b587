"""Fetching a model with progress: the hub's real client and cache, and a hub on this machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from engine import download, weights
from engine.download import Stopped, fetch, part_of
from engine.weights import Gated, WeightsError, find
from tests.hub import Hub, serving

BLOCK = 1 << 16
NEVER = bool  # bool() is False


@pytest.fixture
def hub(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the tiny model, of which the weights count as a large file; nothing is in the cache."""
    shutil.copytree(tiny_folder, tmp_path / "on-the-hub")
    with serving(tmp_path / "on-the-hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(download, "SMALL", 5 << 20)
        monkeypatch.setattr(download, "CHUNK", BLOCK)
        monkeypatch.setattr(download.time, "sleep", lambda _: None)
        yield hub


def size(hub: Hub) -> int:
    return sum(path.stat().st_size for path in hub.folder.iterdir())


def whole(hub: Hub) -> bool:
    folder = find(hub.name).folder
    return all((folder / path.name).read_bytes() == path.read_bytes() for path in hub.folder.iterdir())


def of_weights(hub: Hub) -> list[str]:
    return [told for name, told in hub.ranges if name == "model.safetensors"]


def test_a_model_comes_with_progress_and_is_found_without_a_network(hub: Hub, monkeypatch) -> None:
    assert not weights.is_here(hub.name)
    told: list[tuple[int, int]] = []
    fetch(hub.name, lambda done, of: told.append((done, of)), NEVER)
    done = [now for now, _ in told]
    assert done == sorted(done)
    assert len(done) > 50
    assert {of for _, of in told} == {size(hub)}
    assert told[-1] == (size(hub), size(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert weights.is_here(hub.name)
    assert whole(hub)
    assert part_of(hub.name) == 0


def test_a_stopped_download_goes_on_where_it_ended(hub: Hub) -> None:
    told: list[int] = []
    with pytest.raises(Stopped):
        fetch(hub.name, lambda done, of: told.append(done), lambda: len(told) > 20)
    kept = part_of(hub.name)
    assert kept > 10 * BLOCK
    assert not weights.is_here(hub.name)
    told.clear()
    fetch(hub.name, lambda done, of: told.append(done), NEVER)
    assert told[0] >= kept
    assert of_weights(hub) == ["bytes=0-", f"bytes={kept}-"]
    assert whole(hub)


def test_a_line_that_breaks_is_taken_up_again(hub: Hub) -> None:
    hub.breaks = [20 * BLOCK, 0, 0, 3 * BLOCK]
    fetch(hub.name, lambda done, of: None, NEVER)
    assert len(of_weights(hub)) == 5
    assert whole(hub)


def test_a_line_that_stays_broken_is_said_and_what_came_is_kept(hub: Hub) -> None:
    hub.breaks = [20 * BLOCK, *[0] * 50]
    with pytest.raises(WeightsError, match="connect to the network"):
        fetch(hub.name, lambda done, of: None, NEVER)
    assert part_of(hub.name) == 20 * BLOCK


def test_a_part_that_does_not_belong_is_found_out(hub: Hub) -> None:
    told: list[int] = []
    with pytest.raises(Stopped):
        fetch(hub.name, lambda done, of: told.append(done), lambda: len(told) > 20)
    [part] = (Path(constants.HF_HUB_CACHE)).rglob(f"*{download.PART}")
    part.write_bytes(b"x" * part.stat().st_size)
    with pytest.raises(WeightsError, match="damaged"):
        fetch(hub.name, lambda done, of: None, NEVER)
    fetch(hub.name, lambda done, of: None, NEVER)
    assert whole(hub)


def test_a_gated_model_is_told_apart(hub: Hub) -> None:
    hub.gated = True
    with pytest.raises(Gated, match="accept the licence"):
        fetch(hub.name, lambda done, of: None, NEVER)


def test_what_the_hub_does_not_have_and_a_disk_that_is_full(hub: Hub, monkeypatch) -> None:
    with pytest.raises(WeightsError, match="connect to the network"):
        fetch("nobody/never", lambda done, of: None, NEVER)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(WeightsError, match=r"needs 0\.0 GB more on the disk .* free some space"):
        fetch(hub.name, lambda done, of: None, NEVER)
