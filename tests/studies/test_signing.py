"""Signing in at Reddit from the page: bound to the session, used once, and on disk only where that is asked for."""

import json
from pathlib import Path

import pytest

from studies.importing import Imports
from studies.session import ME
from studies.signing import BACK, RedditDoor
from studies.store import Refused, Store
from tests.collectors.stand_in import standing_in
from tests.collectors.test_reddit_api import Reddit, post, signing, state_of


def test_an_account_is_looked_into_after_its_sign_in_and_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for session in ("a", "b"):
        store.open_session(session, ME)
    service = Reddit(upvoted=[post(1), post(2)], downvoted=[post(3)], saved=[], hidden=[])
    with standing_in(service) as there:
        imports = Imports(store, lambda: None)
        door = RedditDoor(store, imports, signing(there))
        with pytest.raises(Refused, match="sign in"):
            door.look("a")
        url = door.begin("a", "an-id", " ", "http://127.0.0.1:7860/")
        assert f"7860{BACK}".replace("/", "%2F") in url
        with pytest.raises(Refused, match="does not belong"):
            door.finish("b", state_of(url), "code")
        door.finish("a", state_of(url), "code")
        with pytest.raises(Refused, match="sign in"):
            door.look("b")
        seen = door.look("a")
        assert (seen.report.likes, seen.report.dislikes) == (2, 1)
        list(imports.save("a", seen.ticket))
        with pytest.raises(Refused, match="sign in"):
            door.look("a")
    assert {item.text: signal.sign for item, signal in store.reactions(ME)} == {"Post 1": 1, "Post 2": 1, "Post 3": -1}
    assert b"secret-access" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(Refused, match="id of your app"):
        door.begin("a", " ", "", "http://127.0.0.1:7860")


def test_an_access_that_may_stay_outlives_the_app_until_it_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open_session("a", ME)
    service = Reddit(upvoted=[post(1)], downvoted=[], saved=[], hidden=[])
    service.refresh_token = "lasting"
    kept = tmp_path / "reddit.json"
    with standing_in(service) as there:
        imports = Imports(store, lambda: None)
        door = RedditDoor(store, imports, signing(there))
        door.finish("a", state_of(door.begin("a", "an-id", "", "http://127.0.0.1:7860", stay=True)), "code")
        assert json.loads(kept.read_text()) == {"client_id": "an-id", "client_secret": None, "token": "lasting"}
        assert kept.stat().st_mode & 0o777 == 0o600
        for again in (door, RedditDoor(store, imports, signing(there))):
            assert again.look("a").report.likes == 1
            assert again.look("a").report.likes == 1
        kept.write_text("{")
        with pytest.raises(Refused, match="anew"):
            door.look("a")
        door.forget()
        assert not kept.exists()
        with pytest.raises(Refused, match="sign in at Reddit first"):
            door.look("a")
        door.forget()


def test_an_access_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open_session("a", ME)
    (tmp_path / "reddit.part").mkdir()  # where the file would be written
    service = Reddit(upvoted=[post(1)])
    service.refresh_token = "lasting"
    with standing_in(service) as there:
        door = RedditDoor(store, Imports(store, lambda: None), signing(there))
        with pytest.raises(Refused, match="without staying"):
            door.finish("a", state_of(door.begin("a", "an-id", "", "http://127.0.0.1:7860", stay=True)), "code")
