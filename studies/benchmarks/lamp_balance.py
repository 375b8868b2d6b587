"""As many examples of each answer: a method that is taught mostly one answer learns to give it to everybody."""

from collections.abc import Sequence

import numpy as np

from engine.train import Example


def balanced(examples: Sequence[Example], seed: int) -> list[Example]:
    """Every target as often as the commonest one: all of its examples, and draws from them with replacement until
    there are enough. In an order that the seed draws, as the draws are."""
    of: dict[str, list[Example]] = {}
    for example in examples:
        of.setdefault(example.target, []).append(example)
    most, rng = max(map(len, of.values()), default=0), np.random.default_rng(seed)
    found = [*examples]
    for some in of.values():
        found += [some[n] for n in rng.integers(len(some), size=most - len(some))]
    return [found[n] for n in rng.permutation(len(found))]
