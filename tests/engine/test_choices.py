"""An answer out of a list: always one of it, and the one that the model's own probabilities lead to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.backbone import Backbone
from engine.choices import Trie
from engine.decode import allowed, decode
from engine.methods.base import Ask, Conditioning, Contrast
from engine.prompt import prompt

LABELS = ("comedy", "dark comedy", "comedy of errors", "sci-fi", "true story")
SAID = Conditioning(({"role": "user", "content": "Which tag does this film have? Answer with the tag only."},))
ASK = Ask(kind="task", payload="?", temperature=0.0, repetition_penalty=1.0, max_new_tokens=12, choices=LABELS)


def test_a_trie_ends_where_labels_do() -> None:
    root = Trie.of([[1, 2], [1, 2, 3], [4]])
    assert set(root.next) == {1, 4}
    assert root.after([1, 2]).ends
    assert set(root.after([1, 2]).next) == {3}
    assert not root.after([1]).ends
    with pytest.raises(KeyError):
        root.after([2])
    for labels in ([], [[1], []]):
        with pytest.raises(ValueError, match="needs labels"):
            Trie.of(labels)


def test_the_end_of_turn_may_come_only_where_a_label_is_whole() -> None:
    root, logits = Trie.of([[1, 2], [1, 2, 3]]), np.zeros(6)
    assert np.isfinite(allowed(logits, root, {5})).nonzero()[0].tolist() == [1]
    assert np.isfinite(allowed(logits, root.after([1, 2]), {5})).nonzero()[0].tolist() == [3, 5]


def test_whatever_the_seed_a_label_comes_and_every_label_can(tiny: Backbone) -> None:
    ask = replace(ASK, temperature=1.0, top_p=1.0, top_k=0, n=64)
    said = [one.text for one in decode(tiny, [(SAID, ask)])[0]]
    assert set(said) <= set(LABELS)
    assert len(set(said)) >= 3


def test_the_greedy_answer_is_what_the_forward_pass_leads_to(lm: Backbone) -> None:
    [[found]] = decode(lm, [(SAID, ASK)])
    node, ids = Trie.of([lm.tokens(label) for label in LABELS]), list(prompt(lm, SAID).ids)
    while node.next:
        with torch.inference_mode():
            logits = lm.model(torch.tensor([ids])).logits[0, -1].double().numpy()
        token = int(allowed(logits, node, lm.stop_ids).argmax())
        if token in lm.stop_ids:
            break
        ids.append(token)
        node = node.next[token]
    assert found.text in LABELS
    assert list(found.token_ids) == ids[len(prompt(lm, SAID).ids) :]
    assert found.finish == "stop"


def test_a_contrast_chooses_among_the_labels_as_well(tiny: Backbone) -> None:
    rival = Conditioning(({"role": "user", "content": "Tell me of the sea."},))
    told = replace(SAID, contrast=Contrast(rival, weight=0.5))
    assert decode(tiny, [(told, ASK)])[0][0].text in LABELS


def test_rows_without_choices_beside_it_are_as_they_were(tiny: Backbone) -> None:
    free = replace(ASK, choices=(), temperature=1.0)
    alone = decode(tiny, [(SAID, free)])[0][0]
    assert decode(tiny, [(SAID, ASK), (SAID, free)])[1][0] == alone
