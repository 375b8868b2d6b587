"""The ledger's second place: a private dataset on the Hugging Face hub, for machines whose disk does not last.

Only closed segments go there, ids and choices alone (`studies.ledger`). A copy that fails is told in the log and tried
again with the next one; no vote waits for it.
"""

import logging
import shutil
from concurrent.futures import TimeoutError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import CommitScheduler, HfApi, snapshot_download

from studies.ledger import CLOSED, FOLDER, Ledger
from studies.session import CannotStart

EVERY = 5.0  # minutes between two copies
LAST = 20.0  # seconds that the last one may take before the process ends
SEGMENTS = "votes-*.jsonl"
log = logging.getLogger(__name__)


class Copies(CommitScheduler):
    """Copies what is closed every few minutes, and leaves no history: who deleted everything is not in it either."""

    def __init__(self, ledger: Ledger, dataset: str, api: HfApi, every: float = EVERY) -> None:
        self.ledger = ledger
        super().__init__(
            repo_id=dataset,
            repo_type="dataset",
            folder_path=ledger.closed,
            every=every,
            private=True,
            allow_patterns=SEGMENTS,
            hf_api=api,
        )
        self.lock = ledger.lock  # no segment moves or changes while they are listed

    def push_to_hub(self) -> Any:
        self.ledger.close_old()
        copied = super().push_to_hub()
        if copied:
            self.api.super_squash_history(repo_id=self.repo_id, repo_type=self.repo_type)
        return copied

    def last(self) -> None:
        """Close what is open and copy it, if that can be done in time."""
        self.ledger.close()
        try:
            self.trigger().result(LAST)
        except TimeoutError:
            log.warning("the last votes could not be copied in %.0f s", LAST)
        except Exception:  # the hub's library has told it in the log
            log.warning("the last votes are not copied")


def fetch(folder: Path, dataset: str, api: HfApi) -> int:
    """Bring the segments that this data folder lacks, before its ledger is opened; returns how many came.

    The dataset is made where there is none. Raises CannotStart where it cannot be read, or is open to everybody.
    """
    closed = folder / FOLDER / CLOSED
    closed.mkdir(parents=True, exist_ok=True)
    try:
        api.create_repo(dataset, repo_type="dataset", private=True, exist_ok=True)
        if not api.dataset_info(dataset).private:
            raise CannotStart(f"the dataset {dataset} is public: make it private, or name another as PALATE_DATASET")
        with TemporaryDirectory() as there:
            options: dict[str, Any] = {"token": api.token, "endpoint": api.endpoint, "allow_patterns": SEGMENTS}
            snapshot_download(dataset, repo_type="dataset", local_dir=there, **options)
            came = [path for path in Path(there).glob(SEGMENTS) if not (closed / path.name).exists()]
            for path in came:
                shutil.copyfile(path, closed / path.name)
    except CannotStart:
        raise
    except Exception as error:  # of the network, of the hub, of the disk
        why = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise CannotStart(
            f"the votes kept in the dataset {dataset} cannot be fetched ({why}): check PALATE_DATASET and that "
            "HF_TOKEN may write there, or unset PALATE_DATASET and start without them"
        ) from error
    return len(came)
