"""An answer that must be one of a list: which tokens may come next."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False)
class Trie:
    """Token sequences of labels, one node for each beginning; `ends` where a label is whole."""

    next: dict[int, "Trie"] = field(default_factory=dict)
    ends: bool = False

    @classmethod
    def of(cls, labels: Sequence[Sequence[int]]) -> "Trie":
        """Of the tokens of each label. Raises ValueError for none, or an empty one."""
        if not labels or not all(labels):
            raise ValueError("a choice needs labels, and each of them a token")
        root = cls()
        for label in labels:
            node = root
            for token in label:
                node = node.next.setdefault(token, cls())
            node.ends = True
        return root

    def after(self, ids: Sequence[int]) -> "Trie":
        """The node that `ids` lead to. Raises KeyError where no label begins so."""
        node = self
        for token in ids:
            node = node.next[token]
        return node
