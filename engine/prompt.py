"""A conditioning's messages and soft prefix as one sequence; decoding and training read it here, so they agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.backbone import PREFIX, Backbone
from engine.methods.base import Conditioning


class NotNumbers(ValueError):
    """A prefix with values that are no numbers."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """Token ids, and a prefix (P, D) that stands before the token at place `at`."""

    ids: tuple[int, ...]
    prefix: Tensor | None = None
    at: int = 0

    def __len__(self) -> int:
        return len(self.ids) + (0 if self.prefix is None else len(self.prefix))

    def embedded(self, lm: Backbone) -> Tensor:
        """(T, D) in the model's dtype; differentiable in the prefix."""
        tokens = lm.embed(torch.tensor(self.ids, device=lm.device))  # (T - P, D)
        if self.prefix is None:
            return tokens
        return torch.cat([tokens[: self.at], self.prefix.to(tokens), tokens[self.at :]])


def prompt(lm: Backbone, conditioning: Conditioning) -> Prompt:
    """Render the messages. The string is split at `PREFIX` and its halves are tokenised apart.

    Raises ValueError for a prefix of another width, for values that are no numbers, and for a marker that does not
    stand exactly once where there is a prefix and not at all where there is none.
    """
    messages, prefix = list(conditioning.messages), conditioning.prefix
    marks = sum(message["content"].count(PREFIX) for message in messages)
    if prefix is None:
        if marks:
            raise ValueError("the messages mark a place for a prefix and there is none")
        return Prompt(tuple(lm.tokens(lm.render(messages))))
    if prefix.shape[-1] != lm.width:
        raise ValueError(f"a prefix of width {prefix.shape[-1]} does not fit a model of width {lm.width}")
    if not bool(torch.isfinite(prefix).all()):
        raise NotNumbers("the prefix holds values that are no numbers")
    if not marks:
        first = next(i for i, message in enumerate(messages) if message["role"] == "user")
        messages[first] = {**messages[first], "content": PREFIX + messages[first]["content"]}
    if marks > 1:
        raise ValueError(f"the place of the prefix is marked {marks} times: mark it once")
    before, _, after = lm.render(messages).partition(PREFIX)
    head = lm.tokens(before)
    return Prompt((*head, *lm.tokens(after)), prefix, len(head))
