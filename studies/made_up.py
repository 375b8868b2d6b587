"""A study without people or models, for what measures the machinery: its file, and a pool of texts of the sample."""

from itertools import product
from pathlib import Path

from collectors.sample import Sample
from studies.register import Register
from studies.schedule import texts_needed
from studies.store import Candidate, Store, new_id
from studies.studyfile import Study

FILE = """
[study]
seed = {seed}
blocks = {blocks}
same = {same}
practice = 0
salad = 0
consent = "Yes?"
instructions = "Choose."
[arms]
methods = ["none", "history", "retrieval", "summary", "e2p"]
texts = "pool"
[profile]
source = "none"
"""


def study_file(folder: Path, *, seed: int, blocks: int, same: int) -> Path:
    """A study of five arms in pairs, written into the folder."""
    path = folder / "study.toml"
    path.write_text(FILE.format(seed=seed, blocks=blocks, same=same), encoding="utf-8")
    return path


def fill(store: Store, study: Study) -> None:
    """A pool of the sample's texts, dealt to the arms: no two places alike, so that no pair is void."""
    register = Register(store)
    register.open_study(study.design.id, study.title, study.settings)
    texts = [item.text for item, _ in Sample()]
    places = product(study.design.topics, study.design.arms, range(texts_needed(study.design)))
    for number, (topic, arm, n) in enumerate(places):
        one, other = number % len(texts), (number + 1 + number // len(texts)) % len(texts)
        text = f"{texts[one]}\n{texts[other]}"
        register.put(study.design.id, "", topic, n, Candidate(new_id(), arm, text), "the sample")
