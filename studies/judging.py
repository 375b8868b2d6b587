"""Lets language models judge what people judged: the same pairs in both orders, the same single texts; kept beside the
votes."""

from collections.abc import Iterator, Sequence

import numpy as np

from studies.judge import Judge, Verdict, verdicts
from studies.records import Records
from studies.register import Register
from studies.store import Store
from studies.writing import profile_of

AT_ONCE = 200  # pairs of one question about the judge's lean to a place


def judge(
    store: Store, records: Records, judge: Judge, *, personal: bool = False, centred: bool = False
) -> Iterator[str]:
    """Ask about all that people judged and this judge did not, pairs and single texts; yields lines of progress. Broken
    off, it goes on.

    A `personal` judge is told what each rater likes, and leaves out raters of whom nothing is known.
    """
    name = f"{judge.name}, knows the rater" if personal else judge.name
    held = Register(store)
    known = held.verdicts(name)
    raters = list(dict.fromkeys([*(b.rater for b in records.ballots), *(m.rater for m in records.marks)]))
    done = 0
    for group in [[rater] for rater in raters] if personal else [raters]:
        profile = profile_of(store, group[0]) if personal else None
        if profile and not profile.liked:
            continue
        there = [b for b in records.ballots if b.rater in group and b.trial not in known]
        for start in range(0, len(there), AT_ONCE):
            batch = there[start : start + AT_ONCE]
            said: Sequence[Verdict] = verdicts(
                judge, [(ballot.left_text, ballot.right_text) for ballot in batch], profile, centred=centred
            )
            held.keep_verdicts(name, zip((ballot.trial for ballot in batch), said, strict=True))
            done += len(batch)
            yield f"{name}: {done} judged"
        alone = [mark for mark in records.marks if mark.rater in group and mark.trial not in known]
        if alone:
            scores = np.array(judge.funny([mark.text for mark in alone], profile))
            scores -= scores.mean() if centred else 0
            marks = [Verdict("funny" if score > 0 else "not_funny", score, score, score) for score in scores.tolist()]
            held.keep_verdicts(name, zip((mark.trial for mark in alone), marks, strict=True))
            done += len(alone)
            yield f"{name}: {done} judged"
    yield f"{name}: {done} new verdicts, {len(known) + done} in all"
