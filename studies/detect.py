"""Does it sound like a machine: what people detect, what detectors do, and whether arms can be told apart at all.

Posts by people (the arm `HUMAN`) are the truth: who calls everything a machine detects nothing. What can be told apart
by its style could be recognised by a rater as well, whatever the names hide (vote rigging, arXiv 2501.17858).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from engine.backbone import Backbone, BackboneError
from engine.patches import attached
from studies.agreement import Interval, auc, interval
from studies.ratings import LEVEL, RESAMPLES, Ballot, Mark, numbers, share, wilson
from studies.schedule import HUMAN

BATCH = 8
FOLDS = 5
MAX_TOKENS = 256  # of one text
Floats = NDArray[np.float64]
Shown = tuple[str, str, bool]  # (rater, arm, called a machine's)


@dataclass(frozen=True, slots=True)
class Detection:
    """How often an arm's texts were said to sound like a machine, and how far that tells them from people's posts.

    `d_prime` is 0 where they were called so as often as those, `bias` the criterion c: above 0 for raters who seldom
    call anything so. Both are None for the posts themselves and without raters who saw both.
    """

    arm: str
    rate: Interval
    d_prime: Interval | None
    bias: float | None


@dataclass(frozen=True, eq=False)
class Traces:
    """What a language model makes of N texts; a higher value is more like a machine's text."""

    likelihood: Floats  # mean log p of a token
    rank: Floats  # minus the mean log rank of a token, the likeliest having rank 1
    curvature: Floats  # Fast-DetectGPT's


@dataclass(frozen=True, slots=True)
class Detector:
    """How often `name` puts a text of `arm` above a person's post: 0.5 is chance."""

    name: str
    arm: str
    auc: Interval


@dataclass(frozen=True, slots=True)
class Recognisability:
    """How well a classifier tells arms apart on texts that it has not seen; `chance` is the largest arm's share.

    `pairs` has the AUC of each two arms, named in the order of the alphabet, that stand in one held-out part together.
    """

    accuracy: Interval
    chance: float
    pairs: dict[tuple[str, str], float]


def detection(ballots: Sequence[Ballot], marks: Sequence[Mark], *, seed: int = 0) -> list[Detection]:
    """The "sounds AI" marks of each arm as a detection task, by arm: of pairs and cards of the feed, that are not
    skipped. Of other single texts it is not asked.

    d' and c are those of each rater, averaged (Macmillan and Creelman, Detection Theory, 2005, chapter 1), with half a
    vote added to each kind of answer so that none is infinite (log-linear rule: Hautus, Behav. Res. Methods 27, 1995).
    That draws few votes to 0: compare arms that were judged about equally often.
    """
    shown = _shown(ballots, marks)
    found = []
    for arm in sorted({arm for _, arm, _ in shown}):
        mine = [row for row in shown if row[1] == arm]
        hits = np.array([said for _, _, said in mine], float)
        rate = Interval(*share(hits, numbers([rater for rater, _, _ in mine]), seed), len(mine))
        d_prime, bias = (None, None) if arm == HUMAN else _sensitivity(mine, shown)
        found.append(Detection(arm, rate, d_prime, bias))
    return found


def texts_by_arm(ballots: Sequence[Ballot], marks: Sequence[Mark]) -> dict[str, list[str]]:
    """The texts that were shown of each arm, each once, in their order."""
    found: dict[str, dict[str, None]] = {}
    for ballot in ballots:
        found.setdefault(ballot.left, {})[ballot.left_text] = None
        found.setdefault(ballot.right, {})[ballot.right_text] = None
    for mark in marks:
        found.setdefault(mark.arm, {})[mark.text] = None
    return {arm: [text for text in texts if text] for arm, texts in found.items()}


def traces(lm: Backbone, texts: Sequence[str]) -> Traces:
    """Likelihood, rank and curvature of each text, its first MAX_TOKENS tokens, by themselves and without a template.

    The curvature is Fast-DetectGPT's with the same model twice (arXiv 2310.05130, section 3, analytic solution): how
    far the text's log p lies above that of the model's own draws in its place, in their standard deviations.
    Raises ValueError for a text without a token, BackboneError where the model's head is not known here.
    """
    if not lm.head_is_all():
        raise BackboneError(f"{lm.name} does something after its head that is not known here: choose another --model")
    start = lm.tokenizer.bos_token_id
    start = lm.tokenizer.eos_token_id if start is None else start  # so that the first token is foretold as well
    rows = [lm.tokens(text)[:MAX_TOKENS] for text in texts]
    if not all(rows):
        raise ValueError("a text without a token leaves no trace")
    found = np.zeros((3, len(rows)))
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        ids = [torch.tensor([start, *rows[n]], device=lm.device) for n in batch]
        inputs = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)  # (B, T)
        with lm.lock, torch.inference_mode(), attached(lm.model, [lm.base] * len(batch)):
            hidden = lm.hidden(inputs)
            for b, n in enumerate(batch):
                logs = lm.head(hidden[b, : len(rows[n])]).log_softmax(-1)  # (T, V)
                found[:, n] = _traced(logs, ids[b][1:])
    return Traces(*found)


def _traced(logs: torch.Tensor, ids: torch.Tensor) -> tuple[float, float, float]:
    """Likelihood, rank and curvature of tokens `ids` (T,) under log-probabilities (T, V)."""
    own = logs.gather(-1, ids[:, None])  # (T, 1)
    rank = (logs > own).sum(-1) + 1
    p = logs.exp()
    mean = (p * logs).sum(-1)
    variance = (p * logs.square()).sum(-1) - mean.square()
    curve = (own[:, 0] - mean).sum() / variance.sum().clamp(min=1e-12).sqrt()
    return float(own.mean()), -float(rank.log().mean()), float(curve)


def curvature(lm: Backbone, texts: Sequence[str]) -> Floats:
    """Fast-DetectGPT's conditional probability curvature (N,): see `traces`."""
    return traces(lm, texts).curvature


def detectors(lm: Backbone, texts: Mapping[str, Sequence[str]], *, seed: int = 0) -> list[Detector]:
    """What likelihood, rank and curvature under `lm` detect of each arm's texts beside the posts of `HUMAN`.

    Intervals are bootstraps over the texts of each kind. An arm that `lm` itself wrote is the easiest case there is.
    """
    arms = {arm: traces(lm, some) for arm, some in texts.items() if some}
    human = arms.pop(HUMAN, None)
    if human is None:
        return []
    rng = np.random.default_rng(seed)
    found = []
    for arm, machine in sorted(arms.items()):
        for name in ("likelihood", "rank", "curvature"):
            above, below = getattr(machine, name), getattr(human, name)
            drawn = [auc(rng.choice(above, len(above)), rng.choice(below, len(below))) for _ in range(RESAMPLES)]
            fewer, n = min(len(above), len(below)), len(above) + len(below)
            if bounds := interval(auc(above, below), np.array(drawn), fewer, n):
                found.append(Detector(name, arm, bounds))
    return found


def recognisability(
    texts: Mapping[str, Sequence[str]], topics: Mapping[str, Sequence[str]] | None = None, *, seed: int = 0
) -> Recognisability:
    """How well arms are told apart by their style: character n-grams and logistic regression, cross-validated.

    `topics` names what each text is about, aligned with `texts`: a topic is then never in both parts, and the interval
    is over topics; without, a text's subject may give its arm away. Arms without a text are left out. Raises ValueError
    for fewer than two arms, or for an arm with a single text or topic.
    """
    names = sorted(arm for arm in texts if texts[arm])
    rows = [(arm, text, topics[arm][n] if topics else "") for arm in names for n, text in enumerate(texts[arm])]
    if len(names) < 2:
        raise ValueError("at least two arms are needed to tell them apart")
    arms, said = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], object)
    groups = numbers([row[2] for row in rows]) if topics else None
    guessed, _ = _guessed(said, arms, groups, seed)
    right = (guessed == arms).astype(float)
    bounds = (float(right.mean()), *wilson(right.sum(), len(right)))
    if groups is not None:
        bounds = share(right, groups, seed)
    pairs = {}
    for one, other in combinations(names, 2):
        at = (arms == one) | (arms == other)
        found = _guessed(said[at], arms[at], None if groups is None else groups[at], seed)[1]
        if not np.isnan(found):
            pairs[one, other] = found
    chance = max(float((arms == arm).mean()) for arm in names)
    return Recognisability(Interval(*bounds, len(rows)), chance, pairs)


def _guessed(
    texts: NDArray[np.object_], arms: NDArray[np.str_], groups: NDArray[np.intp] | None, seed: int
) -> tuple[NDArray[np.str_], float]:
    """The arm guessed for each text (N,) by a classifier of the others; of two arms, also the mean AUC of the folds."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline

    unit = np.arange(len(arms)) if groups is None else groups
    folds = min(FOLDS, *(len(set(unit[arms == arm])) for arm in set(arms)))
    if folds < 2:
        raise ValueError("an arm has too few texts to learn from some and judge by others")
    split = StratifiedKFold if groups is None else StratifiedGroupKFold
    guessed, found = arms.copy(), []
    for taught, held in split(folds, shuffle=True, random_state=seed).split(texts, arms, groups):
        reader = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), lowercase=False, sublinear_tf=True)
        model = make_pipeline(reader, LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"))
        model.fit(texts[taught], arms[taught])
        guessed[held] = model.predict(texts[held])
        if len(model.classes_) == 2:
            score, last = model.decision_function(texts[held]), arms[held] == model.classes_[1]
            found.append(auc(score[last], score[~last]))
    told = [one for one in found if not np.isnan(one)]
    return guessed, float(np.mean(told)) if told else float("nan")


def _shown(ballots: Sequence[Ballot], marks: Sequence[Mark]) -> list[Shown]:
    played = [ballot for ballot in ballots if ballot.choice != "skip"]
    return [
        *((ballot.rater, ballot.left, "left" in ballot.sounds_ai) for ballot in played),
        *((ballot.rater, ballot.right, "right" in ballot.sounds_ai) for ballot in played),
        *((mark.rater, mark.arm, mark.sounds_ai) for mark in marks if mark.of_feed),
    ]


def _sensitivity(mine: Sequence[Shown], shown: Sequence[Shown]) -> tuple[Interval | None, float | None]:
    """The mean d' of raters who saw both this arm and posts by people, and their mean criterion.

    The interval is Student's over raters; a single rater's is that of their votes (Gourevitch and Galanter,
    Psychometrika 32, 1967).
    """
    found, n = [], 0
    for rater in dict.fromkeys(rater for rater, _, _ in mine):
        signal = [said for who, _, said in mine if who == rater]
        noise = [said for who, arm, said in shown if who == rater and arm == HUMAN]
        if noise:
            n += len(signal) + len(noise)
            rates = [(sum(said) + 0.5) / (len(said) + 1) for said in (signal, noise)]
            z = norm.ppf(rates)
            variance = sum(
                p * (1 - p) / (len(said) * norm.pdf(at) ** 2)
                for p, at, said in zip(rates, z, (signal, noise), strict=True)
            )
            found.append((z[0] - z[1], -(z[0] + z[1]) / 2, variance))
    if not found:
        return None, None
    d, c, variances = np.array(found).T
    if len(found) == 1:
        half = float(norm.ppf((1 + LEVEL) / 2)) * float(np.sqrt(variances[0]))
    else:
        half = float(student.ppf((1 + LEVEL) / 2, len(found) - 1) * d.std(ddof=1) / np.sqrt(len(found)))
    value = float(d.mean())
    return Interval(value, value - half, value + half, n), float(c.mean())
