"""The local model as a judge: which of two texts is funnier, or whether one is, to anybody or to a person."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.backbone import Backbone
from engine.methods.base import Conditioning
from engine.patches import attached
from engine.profile import Profile, representatives
from engine.prompt import prompt
from engine.recommend.scorer import Floats, Texts
from engine.train import common

BATCH = 8
MAX_LIKES, MAX_LIKE_TOKENS, MAX_TEXT_TOKENS = 6, 40, 128  # of a local model's question
ABOUT = "Here is what one person finds funny:\n{likes}\n\n{summary}"
WHICH = "Which of these two texts {whom}?\n\nA: {first}\n\nB: {second}\n\nAnswer with one letter, A or B."
WHETHER = "{text}\n\nIs this text funny{whom}? Answer with one word, Yes or No."


@dataclass(frozen=True)
class LocalJudge:
    """The local model is asked, and the log-odds of its next token, one answer against the other, are the score.

    The embedded model leans to the first place by 2 log-odds, which no verdict survives: take it `centred`, and its
    scores for little more than chance.
    """

    lm: Backbone

    @property
    def name(self) -> str:
        return self.lm.name

    def prefers(self, pairs: Sequence[tuple[str, str]], profile: Profile | None = None) -> list[float]:
        whom = "would this person find funnier" if profile else "is funnier"
        questions = [WHICH.format(whom=whom, first=self._cut(a), second=self._cut(b)) for a, b in pairs]
        return self._odds([self._about(profile) + question for question in questions], "A", "B")

    def funny(self, texts: Sequence[str], profile: Profile | None = None) -> list[float]:
        """The log-odds that each single text is funny. Models say yes readily: compare texts, read no sign."""
        whom = " to this person" if profile else ""
        questions = [WHETHER.format(text=self._cut(text), whom=whom) for text in texts]
        return self._odds([self._about(profile) + question for question in questions], "Yes", "No")

    def score(self, profile: Profile, items: Texts) -> Floats:
        """The same as a scorer (N,)."""
        return np.array(self.funny(items.texts, profile), np.float32)

    def _about(self, profile: Profile | None) -> str:
        if profile is None:
            return ""
        items = representatives(profile) or profile.liked[-MAX_LIKES:]
        likes = "\n".join(f"- {' '.join(self.lm.cut(item.text, MAX_LIKE_TOKENS).split())}" for item in items)
        return f"{ABOUT.format(likes=likes, summary=profile.summary).strip()}\n\n"

    def _cut(self, text: str) -> str:
        return self.lm.cut(text, MAX_TEXT_TOKENS)

    def _odds(self, questions: Sequence[str], one: str, other: str) -> list[float]:
        """log p(one) - log p(other) as the first token of the answer to each question.

        What all questions begin with, the person, goes through the model once. Raises ValueError where a question does
        not fit the model's window.
        """
        lm = self.lm
        prompts = [prompt(lm, Conditioning(({"role": "user", "content": question},))) for question in questions]
        if any(len(told) >= lm.context for told in prompts):
            raise ValueError(f"a question exceeds the window of {lm.context} tokens")
        shared = 0 if lm.base else common(prompts)  # rows that carry patches have no common past
        answers = [lm.tokens(one)[0], lm.tokens(other)[0]]
        odds = [0.0] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            rest = [torch.tensor(prompts[n].ids[shared:], device=lm.device) for n in rows]
            ids = torch.nn.utils.rnn.pad_sequence(rest, batch_first=True)  # (B, T)
            with lm.lock, torch.inference_mode(), attached(lm.model, [lm.base] * len(rows)):
                hidden = lm.hidden(ids, lm.read(prompts[0].ids[:shared], len(rows)) if shared else None)
                logits = lm.head(torch.stack([hidden[b, len(part) - 1] for b, part in enumerate(rest)]))  # (B, V)
            for n, row in zip(rows, logits[:, answers].tolist(), strict=True):
                odds[n] = row[0] - row[1]
        return odds
