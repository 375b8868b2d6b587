"""Rows of LaMP that ask no language model: counts, neighbours, and a regression on the sentence encoder's vectors.

Whatever is chosen here (k, ridge, smoothing) is chosen on the people who teach, by what it says of their own questions.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from engine.encoder import encode
from studies.benchmarks.lamp_files import Question, Task, candidates, plain
from studies.benchmarks.runs import CannotRun
from studies.benchmarks.scores import Floats

NEIGHBOURS = (1, 2, 3, 5, 8, 12, 20, 40)
INVERSE_RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)  # C of the regression
SMOOTHINGS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # answers of everybody's, that one's own prior begins with
FOLDS = 5
MOST_OF_ONE = 40  # items of one person that teach, the latest


@dataclass(frozen=True, eq=False)
class Teachers:
    """The people who teach."""

    task: Task
    questions: tuple[Question, ...]
    seen: bool  # whether they may know what others are asked

    @cached_property
    def rows(self) -> list[tuple[str, str, str]]:
        """What was answered to what: (person, text, answer), each once."""
        told: dict[tuple[str, str, str], None] = {}
        for question in self.questions:
            told |= dict.fromkeys((question.person, item.text, item.answer) for item in question.past[-MOST_OF_ONE:])
        told |= dict.fromkeys((question.person, question.payload, question.gold) for question in self.questions)
        return list(told)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({label for question in self.questions for label in question.labels}))

    @cached_property
    def everybody(self) -> Floats:
        """How often each label is given (L,), with one of each on top."""
        golds = [question.gold for question in self.questions]
        counts = Counter(golds if self.task.name == "LaMP_1" else [answer for _, _, answer in self.rows])
        found = np.array([counts[label] + 1 for label in self.labels], float)
        return np.asarray(found / found.sum())

    @cached_property
    def neighbours(self) -> int:
        """k of the nearest neighbours."""
        right = {k: np.mean(_right(self, neighbours(self, self.questions, k))) for k in NEIGHBOURS}
        return max(right, key=lambda k: float(right[k]))

    @cached_property
    def regression(self) -> Any:
        """The regression on all rows, its ridge by log-loss on people it has not seen."""
        best = min(INVERSE_RIDGES, key=lambda c: self._loss(self._unseen(c)))
        return self._fitted(best, self.rows)

    @cached_property
    def smoothing(self) -> float:
        """Of the own prior beside the regression."""
        foretold = self._unseen(float(self.regression.C))
        return min(SMOOTHINGS, key=lambda a: self._loss(foretold + own_prior(self, self.questions, a)))

    def _fitted(self, c: float, rows: Sequence[tuple[str, str, str]]) -> Any:
        from sklearn.linear_model import LogisticRegression

        known = [(text, answer) for _, text, answer in rows if answer in self.labels]
        if len({answer for _, answer in known}) < 2:
            raise CannotRun("the people who teach give fewer than two different answers: take more of them")
        texts, answers = zip(*known, strict=True)
        return LogisticRegression(C=c, max_iter=1000).fit(encode(texts), answers)

    def _unseen(self, c: float) -> Floats:
        """log p of each label (Q, L) for the teachers' questions, by a regression on the other folds of people, and,
        as those who are judged are met, unless `seen` without what is asked of this one."""
        people = sorted({question.person for question in self.questions})
        fold_of = {person: n % FOLDS for n, person in enumerate(people)}
        found = np.zeros((len(self.questions), len(self.labels)))
        for fold in range(min(FOLDS, len(people))):
            mine = [n for n, question in enumerate(self.questions) if fold_of[question.person] == fold]
            asked = set() if self.seen else {plain(self.questions[n].payload) for n in mine}
            rows = [row for row in self.rows if fold_of[row[0]] != fold and plain(row[1]) not in asked]
            found[mine] = foretold(self, self._fitted(c, rows), [self.questions[n] for n in mine])
        return found

    def _loss(self, scores: Floats) -> float:
        places = [self.labels.index(question.gold) for question in self.questions]
        normal = np.logaddexp.reduce(scores, 1)
        return float(np.mean(normal - scores[np.arange(len(places)), places]))


def taught_by(task: Task, questions: Sequence[Question], judged: Sequence[Question], *, seen: bool) -> Teachers:
    """Those of `questions` that may teach: of other people and, unless `seen`, nothing that is asked of one who is
    judged (else a film's tag by others is known, as in LaMP itself, whose splits share films)."""
    people = {question.user for question in judged if question.user}
    asked = set() if seen else {plain(question.payload) for question in judged}
    kept = []
    for question in questions:
        if question.user not in people and plain(question.payload) not in asked:
            profile = tuple(item for item in question.profile if plain(item.text) not in asked)
            kept.append(replace(question, profile=profile))
    if not kept and task.kind != "text":
        raise CannotRun("nobody is left to teach: give other people's questions after --train")
    return Teachers(task, tuple(kept), seen)


# ---- scores of each label (Q, L)


def own_prior(teachers: Teachers, questions: Sequence[Question], smoothing: float) -> Floats:
    """log of how much oftener this person gives a label than everybody does, which is what Bayes' rule puts beside a
    regression that knows nobody. Their counts begin with `smoothing` answers of everybody's."""
    counts = _counts(teachers, questions)
    share = (counts + smoothing * teachers.everybody) / (counts.sum(1, keepdims=True) + smoothing)
    return np.asarray(np.log(share / teachers.everybody))


def foretold(teachers: Teachers, regression: Any, questions: Sequence[Question]) -> Floats:
    """log p of each label by the regression; of a label that it never met, very little."""
    found = np.full((len(questions), len(teachers.labels)), -20.0)
    places = [teachers.labels.index(label) for label in regression.classes_]
    found[:, places] = regression.predict_log_proba(encode([question.payload for question in questions]))
    return found


def neighbours(teachers: Teachers, questions: Sequence[Question], k: int) -> Floats:
    """The k nearest of this person's items vote by their cosine; for LaMP-1, the mean cosine of a candidate's title to
    the k nearest of the person's papers. Ties are everybody's."""
    found = np.tile(1e-6 * teachers.everybody, (len(questions), 1))
    for n, question in enumerate(questions):
        if not question.past:
            continue
        vectors = encode([item.text for item in question.past])  # (N, E)
        if teachers.task.name == "LaMP_1":
            near = np.sort(vectors @ encode(candidates(question)).T, axis=0)[-k:].mean(0)
            found[n] += [near[("[1]", "[2]").index(label)] for label in teachers.labels]
            continue
        cosines = vectors @ encode([question.payload])[0]
        for place in np.argsort(-cosines, kind="stable")[:k]:
            if question.past[place].answer in teachers.labels:
                found[n, teachers.labels.index(question.past[place].answer)] += max(cosines[place], 0)
    return found


def _counts(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    counts = [Counter(item.answer for item in question.past) for question in questions]
    return np.array([[count[label] for label in teachers.labels] for count in counts], float)


# ---- the rows


def majority(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    return np.tile(teachers.everybody, (len(questions), 1))


def commonest(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    return _counts(teachers, questions) + teachers.everybody / 2


def own_neighbours(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    return neighbours(teachers, questions, teachers.neighbours)


def regressed(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    return foretold(teachers, teachers.regression, questions)


def regressed_and_own(teachers: Teachers, questions: Sequence[Question]) -> Floats:
    return regressed(teachers, questions) + own_prior(teachers, questions, teachers.smoothing)


def said(teachers: Teachers, questions: Sequence[Question], scores: Floats) -> list[str]:
    """The best of the labels that each question lists."""
    places = {label: n for n, label in enumerate(teachers.labels)}
    return [
        max(question.labels, key=lambda label: row[places[label]] if label in places else -np.inf)
        for question, row in zip(questions, scores, strict=True)
    ]


def _right(teachers: Teachers, scores: Floats) -> list[bool]:
    answers = said(teachers, teachers.questions, scores)
    return [question.gold == answer for question, answer in zip(teachers.questions, answers, strict=True)]


Score = Callable[[Teachers, Sequence[Question]], Floats]
ROWS: dict[str, tuple[Score, bool]] = {  # whether it is personal
    "majority": (majority, False),
    "own commonest": (commonest, True),
    "own neighbours": (own_neighbours, True),
    "logistic regression": (regressed, False),
    "logistic regression x own prior": (regressed_and_own, True),
}


def rows_for(task: Task) -> Iterator[str]:
    """Those that make sense: LaMP-1's labels are places, and nobody's taste."""
    yield from (name for name in ROWS if task.name != "LaMP_1" or name in ("majority", "own neighbours"))


def parameters(teachers: Teachers, row: str) -> int:
    """Weights that were fitted: coefficients and constants of the regression."""
    if not row.startswith("logistic regression"):
        return 0
    return int(teachers.regression.coef_.size + teachers.regression.intercept_.size)
