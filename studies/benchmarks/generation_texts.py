"""Texts that were written for people: how various they are, whether they are copies, and whose taste they lie near."""

from collections.abc import Sequence

import numpy as np
from sacrebleu import sentence_bleu

from engine.encoder import encode
from engine.pretrained.memorised import WORD, Taught, report
from studies.benchmarks.adapters import Rater
from studies.benchmarks.runs import Row
from studies.benchmarks.scores import Floats, ratio

MOST = 200  # texts whose self-BLEU is taken: each is compared with all others


def written_figures(written: Sequence[Sequence[str]], raters: Sequence[Rater], known: Taught) -> Row:
    """All figures of what was written for each person, and how many texts are empty; these count in no other figure."""
    texts = [text for some in written for text in some if text]
    figures: Row = {"texts": sum(map(len, written)), "empty": sum(not text for some in written for text in some)}
    if not texts:
        return figures
    return figures | varied(texts) | {"copied": report(known, texts)["copied"]} | closeness(written, raters)


def varied(texts: Sequence[str]) -> Row:
    return {"distinct_1": distinct(texts, 1), "distinct_2": distinct(texts, 2), "self_bleu": self_bleu(texts)}


def distinct(texts: Sequence[str], n: int) -> float:
    """The share of all runs of n words that are different ones (Li et al., arXiv 1510.03055, section 5.3). It falls
    with the number of texts: compare equal ones."""
    words = [WORD.findall(text.lower()) for text in texts]
    runs = [tuple(some[at : at + n]) for some in words for at in range(len(some) - n + 1)]
    return len(set(runs)) / len(runs) if runs else float("nan")


def self_bleu(texts: Sequence[str]) -> float:
    """The mean BLEU of each text against all others, 0 to 1: the higher, the more alike they are (Zhu et al., arXiv
    1802.01886, section 3.2). Of more than MOST texts as many, taken evenly; nan of fewer than two."""
    some = [texts[n] for n in np.linspace(0, len(texts) - 1, min(MOST, len(texts))).round().astype(int)]
    if len(some) < 2:
        return float("nan")
    return float(np.mean([sentence_bleu(text, some[:n] + some[n + 1 :]).score for n, text in enumerate(some)]) / 100)


def closeness(written: Sequence[Sequence[str]], raters: Sequence[Rater]) -> Row:
    """How much nearer the texts lie to what their person liked among the jokes that judge than to what they disliked:
    mean cosines, with an interval over people."""
    found = [nearness(some, rater) for some, rater in zip(written, raters, strict=True)]
    mean, half = ratio(np.array([some.sum() for some in found]), np.array([len(some) for some in found], float))
    return {"closeness": mean, "closeness_half": half}


def nearness(texts: Sequence[str], rater: Rater) -> Floats:
    """Of each text that is not empty (N,); one that is itself among the likes is held against the others."""
    away = encode([text for text, liked in rater.judged if not liked]).mean(0)
    likes = [text for text, liked in rater.judged if liked]
    found = []
    for text in filter(None, texts):
        others = [like for like in likes if like != text]
        if others:
            found.append(float(encode([text])[0] @ (encode(others).mean(0) - away)))
    return np.array(found, float)
