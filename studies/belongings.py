"""What belongs to the person: all of it in one zip, or none of it any more."""

import json
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

from studies.database import FILE, OPENED
from studies.pictures import folder_of
from studies.store import Refused, Store

KEPT = (FILE, f"{FILE}-wal", f"{FILE}-shm", "palate.lock", OPENED)  # of a data folder whose contents are deleted
README = """What Palate knows of you. Every file beside this one is a table, a JSON object a line; times are UTC.

item        texts: those you brought, those the model wrote for you, and the sample feed
signal      what you showed about an item in what you imported: sign -1, 0 or +1; remark is what you said of likes
vote        what you chose; trial says which texts were shown, candidate who wrote them, undo what you took back
flag        "sounds AI" and "offensive";  summary: what a model made of your taste
edit        what you did to your profile: name, pin, mute, out
import      what you imported and when;  consent: what may be sent, and the words you agreed to
study, participant, answer, event, pool, verdict: of studies that were run in this data folder
rater, session, schedule, selection, chunk: how these hang together (docs/schema.md)

Left out: vector (numbers that are computed from the texts). states/ holds what was fitted to you, pictures/ what
was painted for you: candidate names each file and what the image model was told.
An access to Reddit that you asked to keep is left out too.
"""


def export(store: Store, to: Path) -> Path:
    """Write one zip of everything, readable without this program; returns its path. Raises Refused if it cannot be."""
    part = to.with_suffix(".part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("README.txt", README)
            for table in store.tables():
                if table != "vector":
                    with file.open(f"{table}.jsonl", "w") as lines:
                        for row in store.db.each(f'select * from "{table}"'):
                            lines.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            for kept in (store.db.folder / "states", folder_of(store)):
                for path in sorted(kept.rglob("*")) if kept.is_dir() else ():
                    if path.is_file():
                        file.write(path, path.relative_to(store.db.folder).as_posix())
        return part.rename(to)
    except OSError as error:
        raise Refused(f"the zip cannot be written ({error.strerror}): free some space and try again") from error
    finally:
        with suppress(OSError):
            part.unlink()


def delete(store: Store) -> None:
    """Delete everything personal in the data folder, also what the database had freed and not overwritten yet."""
    store.delete_everything()
    for path in store.db.folder.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()
