"""Scores of the offline benchmarks: of ratings and of pairs within a user, with intervals over users."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
Z = 1.96
WRONG = ", wrong person"  # ends the name of a row that is given somebody else's past


def of_ratings(truth: Floats, predicted: Floats, user: NDArray[np.intp], *, span: float) -> dict[str, float]:
    """Errors of N predicted ratings, AUC of a rating above 0, and pair accuracy within users.

    NMAE is the mean absolute error as a share of the scale's `span` (Goldberg et al., Information Retrieval 4, 2001).
    AUC and errors reward knowing how generous a user is; pair accuracy does not, and has an interval over users.
    """
    off = np.abs(truth - predicted)
    hits, pairs = within_users(truth, predicted, user)
    share, half = ratio(hits, pairs)
    liked = truth > 0
    return {
        "n": len(truth),
        "mae": float(off.mean()),
        "nmae": float(off.mean() / span),
        "rmse": float(np.sqrt((off**2).mean())),
        "auc": float(roc_auc_score(liked, predicted)) if 0 < liked.sum() < len(liked) else float("nan"),
        "pair_accuracy": share,
        "pair_accuracy_half": half,
        "pairs": int(pairs.sum()),
    }


def within_users(truth: Floats, predicted: Floats, user: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """For each user (U,) how many of their pairs of unequal truth are put in the right order, ties of the prediction
    half, and how many pairs there are."""
    order = np.argsort(user, kind="stable")
    ends = np.flatnonzero(np.diff(user[order])) + 1
    hits, pairs = [], []
    for rows in np.split(order, ends):
        t = np.sign(truth[rows, None] - truth[None, rows])
        p = np.sign(predicted[rows, None] - predicted[None, rows])
        above = np.triu(t != 0, 1)
        pairs.append(above.sum())
        hits.append(((t * p + 1) / 2)[above].sum())
    return np.array(hits, float), np.array(pairs, float)


def ratio(hits: Floats, of: Floats) -> tuple[float, float]:
    """A share pooled over users (U,), and half of its 95 % interval: users are the sample, not their pairs (ratio
    estimator: Cochran, Sampling Techniques, 1977, section 6.3)."""
    hits, of = hits[of > 0], of[of > 0]
    if not len(of):
        return float("nan"), float("nan")
    share = hits.sum() / of.sum()
    spread = (hits - share * of).std(ddof=1) if len(of) > 1 else float("nan")
    return float(share), float(Z * spread / (of.mean() * np.sqrt(len(of))))


def classification(gold: Sequence[str], said: Sequence[str | None], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro-F1 over the fixed labels, as LaMP scores them: what is no label is wrong, and a failure.

    Text is stripped before it is compared, and nothing else is forgiven (arXiv 2304.11406, section 3).
    """
    told = [None if answer is None else answer.strip() for answer in said]
    places = {label: n for n, label in enumerate(labels)}
    truth = np.array([places[label.strip()] for label in gold])
    found = np.array([places.get(answer, -1) if answer is not None else -1 for answer in told])
    f1 = []
    for n in range(len(labels)):
        both, either = ((truth == n) & (found == n)).sum(), (truth == n).sum() + (found == n).sum()
        f1.append(2 * both / either if either else 0.0)
    share = float((truth == found).mean())
    return {
        "n": len(gold),
        "accuracy": share,
        "accuracy_half": float(Z * np.sqrt(share * (1 - share) / len(gold))),
        "macro_f1": float(np.mean(f1)),
        "parse_failures": int((found < 0).sum()),
    }


def regression(gold: Sequence[int], said: Sequence[str | None]) -> dict[str, float]:
    """MAE and RMSE of ratings 1 to 5 as LaMP-3 scores them: what is no number is whichever end is farther off."""
    off, failures = [], 0
    for truth, answer in zip(gold, said, strict=True):
        try:
            value = float((answer or "").strip())
        except ValueError:
            failures += 1
            value = 1.0 if abs(1 - truth) > abs(5 - truth) else 5.0
        off.append(abs(value - truth))
    return {
        "n": len(off),
        "mae": float(np.mean(off)),
        "rmse": float(np.sqrt(np.mean(np.square(off)))),
        "parse_failures": failures,
    }


def rouge(gold: Sequence[str], said: Sequence[str]) -> Floats:
    """ROUGE-1 and ROUGE-L, F measure, of each text (N, 2): rouge-score without a stemmer, as LaMP scores them."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"])
    found = [scorer.score(truth.strip(), text.strip()) for truth, text in zip(gold, said, strict=True)]
    return np.array([[one["rouge1"].fmeasure, one["rougeL"].fmeasure] for one in found], float).reshape(-1, 2)


def generation(gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
    """Mean ROUGE-1 and ROUGE-L, BLEU of the whole by sacrebleu, and mean METEOR by nltk where its WordNet is found
    (`python -m nltk.downloader wordnet`), for its synonyms; all from 0 to 1."""
    from sacrebleu import corpus_bleu

    one, longest = rouge(gold, said).mean(0)
    bleu = corpus_bleu([text.strip() for text in said], [[text.strip() for text in gold]]).score / 100
    figures = {"n": len(gold), "rouge1": float(one), "rougeL": float(longest), "bleu": float(bleu)}
    return figures if (synonyms := _wordnet()) is None else figures | {"meteor": _meteor(gold, said, synonyms)}


def _meteor(gold: Sequence[str], said: Sequence[str], synonyms: Any) -> float:
    """Of words as nltk's Treebank tokenizer cuts them, the one that needs no data."""
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.translate.meteor_score import single_meteor_score

    words = NLTKWordTokenizer().tokenize
    pairs = zip(gold, said, strict=True)
    return float(np.mean([single_meteor_score(words(a), words(b), wordnet=synonyms) for a, b in pairs]))


def _wordnet() -> Any:
    """nltk's WordNet, None where it was not downloaded."""
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None
    return wordnet
