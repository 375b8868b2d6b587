"""Judges: what survives the swap, the local model's odds beside its plain forward pass, and what is sent to the API."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from collectors.item import Item, Signal, write_reactions
from engine.__main__ import main as learn
from engine.backbone import Backbone
from engine.claude import ApiTrouble, Claude, NotPermitted
from engine.methods.lora import TAM
from engine.profile import Profile, build, representatives
from engine.recommend.local_judge import MAX_TEXT_TOKENS, LocalJudge
from engine.recommend.scorers import PLAIN
from engine.summary import MAX_CHARS, MAX_DISLIKES, MAX_LIKES
from studies.__main__ import main
from studies.judge import ClaudeJudge, Judge, TasteJudge, Verdict, lean, verdicts
from studies.register import Register
from tests.loopback import Loopback, message, serving
from tests.studies.test_records import RATERS, STUDY, small_study, text
from tests.studies.test_records import judge as judge_pair

NEAREST = TasteJudge(PLAIN["nearness"], "nearness")
CATS = (
    "My cat knocked my coffee off the desk and looked at me as if I had done it.",
    "The cat sat in the empty box and ignored the expensive bed I bought for her.",
    "My cat meowed at a closed door, walked through it and meowed on the other side.",
    "Our cat woke me at five to show me that her bowl was only half full.",
)
CODE = (
    "I fixed one bug in the code and the compiler gave me twelve new ones.",
    "The program works on my machine, so we shipped my machine to the customer.",
    "I wrote a comment in the code that says do not touch, and nobody knows why.",
    "The developer deleted the database and called it a performance improvement.",
)
PAIRS = list(zip(CATS, CODE, strict=True))


@dataclass(frozen=True)
class Made:
    """A judge with a taste, the longer text, and a lean to the text that stands first."""

    taste: float
    leans: float
    name: str = "made"

    def prefers(self, pairs: Sequence[tuple[str, str]], profile: Profile | None = None) -> list[float]:
        return [self.taste * (len(a) - len(b)) + self.leans for a, b in pairs]


# ---- the swap


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("leans", [1.0, -1.0, 0.3])
def test_who_always_says_the_first_says_nothing(leans: float, centred: bool) -> None:
    found = verdicts(Made(0.0, leans), PAIRS, centred=centred)
    assert found == [Verdict("tie", 0.0, leans, leans)] * len(PAIRS)


def test_a_verdict_must_survive_the_swap() -> None:
    pairs = [("long text", "short"), ("short", "long text"), ("same", "size")]
    judge: Judge = Made(1.0, 0.0)
    assert [verdict.choice for verdict in verdicts(judge, pairs)] == ["left", "right", "tie"]
    leaning = verdicts(Made(1.0, 5.0), pairs)
    assert [verdict.choice for verdict in leaning] == ["tie", "tie", "tie"]
    assert [verdict.score for verdict in leaning] == [4.0, -4.0, 0.0]  # of which the place is no part
    centred = verdicts(Made(1.0, 5.0), pairs, centred=True)
    assert [verdict.choice for verdict in centred] == ["left", "right", "tie"]
    assert [(verdict.first, verdict.second) for verdict in centred] == [(9.0, 1.0), (1.0, 9.0), (5.0, 5.0)]


def test_the_lean_is_what_the_place_alone_does() -> None:
    judge = Made(1.0, 0.75)
    swapped = [(b, a) for a, b in PAIRS]
    assert lean(judge.prefers(PAIRS), judge.prefers(swapped)) == pytest.approx(0.75)
    assert lean([], []) == 0
    assert verdicts(judge, []) == []


# ---- the local model


def odds(lm: Backbone, content: str, one: str, other: str) -> float:
    """By one plain forward pass of one row."""
    ids = torch.tensor([lm.tokens(lm.render([{"role": "user", "content": content}]))])
    with torch.inference_mode():
        logps = lm.model(input_ids=ids).logits[0, -1].log_softmax(-1)
    return float(logps[lm.tokens(one)[0]] - logps[lm.tokens(other)[0]])


def test_scores_are_the_models_log_odds_whatever_else_is_in_the_batch(tiny: Backbone, profile: Profile) -> None:
    judge = LocalJudge(tiny)
    assert judge.name == tiny.name
    pairs = [*PAIRS, ("Short.", "A text that is a good deal longer than the first one is."), *PAIRS[::-1]]
    plain, told = judge.prefers(pairs), judge.prefers(pairs, profile)
    likes = "\n".join(f"- {item.text}" for item in representatives(profile))
    for n, (a, b) in enumerate(pairs):
        question = f"A: {a}\n\nB: {b}\n\nAnswer with one letter, A or B."
        asked = f"Which of these two texts is funnier?\n\n{question}"
        assert plain[n] == pytest.approx(odds(tiny, asked, "A", "B"), abs=1e-3)
        about = f"Here is what one person finds funny:\n{likes}\n\n{profile.summary}"
        asked = f"{about}\n\nWhich of these two texts would this person find funnier?\n\n{question}"
        assert told[n] == pytest.approx(odds(tiny, asked, "A", "B"), abs=1e-3)
    assert plain != told
    assert judge.prefers([]) == []


def on_an_adapter(tiny: Backbone) -> tuple[Backbone, Backbone]:
    """The tiny model with an adapter under it, once merged and once carried by every row, as quantised weights are."""
    torch.manual_seed(0)
    state = {name: 0.2 * torch.randn_like(t) for name, t in TAM.born(tiny, np.zeros((0, 0), np.float32)).items()}
    merged, carried = (Backbone(deepcopy(tiny.model), tiny.tokenizer, tiny.name, tiny.plan) for _ in range(2))
    merged.adapt(TAM.adapter(merged, state), "jokes")
    carried.plan = replace(tiny.plan, quantization="nf4")  # merging is all that it decides here
    carried.adapt(TAM.adapter(carried, state), "jokes")
    assert carried.base
    return merged, carried


def test_the_adapter_under_a_model_is_there(tiny: Backbone, profile: Profile) -> None:
    merged, carried = (LocalJudge(lm).prefers(PAIRS, profile) for lm in on_an_adapter(tiny))
    assert carried == pytest.approx(merged, abs=1e-3)
    assert carried != pytest.approx(LocalJudge(tiny).prefers(PAIRS, profile), abs=1e-2)


def test_single_texts_are_marked_yes_or_no(tiny: Backbone, profile: Profile) -> None:
    judge = LocalJudge(tiny)
    found = judge.funny(CATS)
    content = f"{CATS[1]}\n\nIs this text funny? Answer with one word, Yes or No."
    assert found[1] == pytest.approx(odds(tiny, content, "Yes", "No"), abs=1e-3)
    assert judge.funny(CATS, profile) != found


def test_long_texts_are_cut_and_too_long_a_question_is_refused(tiny: Backbone, profile: Profile) -> None:
    judge = LocalJudge(tiny)
    long = "word " * 5_000
    cut = "word " * MAX_TEXT_TOKENS
    assert judge.prefers([(long, CATS[0])]) == judge.prefers([(cut, CATS[0])])
    talkative = replace(profile, summary=long)
    with pytest.raises(ValueError, match="exceeds the window"):
        judge.prefers(PAIRS, talkative)


def person(name: str, likes: Sequence[str]) -> Profile:
    items = [Item("test", f"{name}-{n}", "joke", text) for n, text in enumerate(likes)]
    return build(
        name, [(item, Signal(item.id, 1)) for item in items], summary=f"This person enjoys jokes about {name}."
    )


def test_the_right_person_makes_their_texts_funnier_and_the_wrong_one_others(lm: Backbone) -> None:
    """The wrong-profile control, on subjects as far apart as can be: the embedded model is no judge of finer things."""
    judge = LocalJudge(lm)
    cats, code = person("cats", CATS[2:]), person("code", CODE[2:])
    texts = [*CATS[:2], *CODE[:2]]
    by_cats, by_code = judge.funny(texts, cats), judge.funny(texts, code)
    shift = [a - b for a, b in zip(by_cats, by_code, strict=True)]
    assert min(shift[:2]) > max(shift[2:])


def test_the_embedded_model_leans_to_a_place_so_much_that_no_verdict_survives(lm: Backbone) -> None:
    found = verdicts(LocalJudge(lm), PAIRS)
    assert lean([v.first for v in found], [v.second for v in found]) > 1
    assert {verdict.choice for verdict in found} == {"tie"}
    centred = verdicts(LocalJudge(lm), PAIRS, centred=True)
    assert [verdict.score for verdict in centred] == [verdict.score for verdict in found]


# ---- the API


@pytest.fixture
def api() -> Iterator[Loopback]:
    with serving() as heard:
        heard.reply = lambda n: (200, message({"funnier": longer(heard.told(n))}))
        yield heard


def longer(told: dict[str, str]) -> str:
    return "A" if len(told["A"]) > len(told["B"]) else "B" if len(told["B"]) > len(told["A"]) else "neither"


@pytest.fixture
def claude(api: Loopback) -> Claude:
    return Claude("a-model", "sk-made-up", api.url)


def test_the_api_is_asked_once_for_each_pair_and_order(api: Loopback, claude: Claude) -> None:
    judge: Judge = ClaudeJudge(claude, lambda: True)
    assert judge.name == "a-model"
    found = verdicts(judge, [("long text", "short"), ("short", "long text"), ("same", "size")])
    assert [(v.choice, v.score, v.first, v.second) for v in found] == [
        ("left", 1.0, 1.0, -1.0),
        ("right", -1.0, -1.0, 1.0),
        ("tie", 0.0, 0.0, 0.0),
    ]
    assert [api.told(n) for n in (0, 3)] == [{"A": "long text", "B": "short"}, {"A": "short", "B": "long text"}]
    assert len(api.requests) == 6
    api.reply = lambda n: (200, message({"funnier": "A"}))
    assert {verdict.choice for verdict in verdicts(judge, PAIRS)} == {"tie"}


def test_without_permission_nothing_is_sent(api: Loopback, claude: Claude, profile: Profile) -> None:
    with pytest.raises(NotPermitted):
        ClaudeJudge(claude, lambda: False).prefers(PAIRS, profile)
    assert api.requests == []
    with pytest.raises(NotPermitted):  # a yes may end between two pairs
        ClaudeJudge(claude, lambda: len(api.requests) < 2).prefers(PAIRS, profile)
    assert len(api.requests) == 2


def test_of_a_person_only_texts_are_sent_and_bounded(api: Loopback, claude: Claude, profile: Profile) -> None:
    likes = [Item("reddit", f"like-{n}", "joke", f"Joke {n} {'x ' * MAX_CHARS}") for n in range(MAX_LIKES + 5)]
    dislikes = [Item("reddit", f"dislike-{n}", "joke", f"Bad {n}.") for n in range(MAX_DISLIKES + 5)]
    signals = [Signal(item.id, 1) for item in likes] + [Signal(item.id, -1) for item in dislikes]
    many = Profile("somebody", tuple(likes + dislikes), tuple(signals), summary="They like jokes.")
    judge = ClaudeJudge(claude, lambda: True)
    judge.prefers(PAIRS[:1], many)
    told = json.loads(api.requests[0]["messages"][0]["content"])
    assert (told["A"], told["B"]) == PAIRS[0]
    assert told["person"]["summary"] == "They like jokes."
    assert len(told["person"]["liked"]) == MAX_LIKES
    assert max(map(len, told["person"]["liked"])) <= MAX_CHARS
    assert len(told["person"]["disliked"]) == MAX_DISLIKES
    assert not [word for word in ("reddit", "like-0", "somebody") if word in json.dumps(api.requests)]
    judge.prefers(PAIRS[:1])
    assert "person" not in api.told()


def test_it_may_say_a_and_b_or_neither_and_nothing_else(api: Loopback, claude: Claude) -> None:
    api.reply = lambda n: (200, message({"funnier": "C"}))
    with pytest.raises(ApiTrouble, match="cannot be read"):
        ClaudeJudge(claude, lambda: True).prefers(PAIRS)
    schema = api.requests[0]["output_config"]["format"]["schema"]
    assert schema["properties"]["funnier"]["enum"] == ["A", "B", "neither"]


def test_it_marks_single_texts(api: Loopback, claude: Claude) -> None:
    api.reply = lambda n: (200, message({"funny": n == 1}))
    assert ClaudeJudge(claude, lambda: True).funny(CATS[:2]) == [-1.0, 1.0]
    assert api.told() == {"text": CATS[1]}


# ---- the recommender


def test_the_recommender_finds_funnier_what_is_nearer_to_the_likes_and_survives_the_swap() -> None:
    items = [Item("test", str(n), "joke", text) for n, text in enumerate((*CATS[:3], *CODE[:3]))]
    fond = build("me", [(item, Signal(item.id, 1 if n < 3 else -1)) for n, item in enumerate(items)])
    judge: Judge = NEAREST
    found = verdicts(judge, [(CATS[3], CODE[3]), (CODE[3], CATS[3])], fond)
    assert [verdict.choice for verdict in found] == ["left", "right"]
    near, far = judge.funny([CATS[3], CODE[3]], fond)
    assert near > far
    assert found[0].score == pytest.approx(near - far, abs=1e-5)


def test_of_nobody_the_recommender_says_neither() -> None:
    assert {verdict.choice for verdict in verdicts(NEAREST, PAIRS)} == {"tie"}
    assert NEAREST.funny(CATS) == [0.0] * 4


def test_the_command_keeps_its_verdicts_for_those_whose_likes_are_known(tmp_path: Path, capsys: Any) -> None:
    store = small_study(tmp_path / "data")
    likes = [Item("test", str(n), "joke", cat) for n, cat in enumerate(CATS[:3])]
    store.add(RATERS[0], [(item, Signal(item.id, 1)) for item in likes])
    known = judge_pair(store, RATERS[0], text("item", CATS[3]), text("item", CODE[3]), "left", position=9)
    other = judge_pair(store, RATERS[1], text("item", CATS[3]), text("item", CODE[3]), "left", position=9)
    assert main(["judge", "--data-dir", str(tmp_path / "data"), "--study", STUDY, "--taste"]) in (None, 0)
    found = Register(store).verdicts(f"{NEAREST.name}, knows the rater")
    assert found[known][0] == "left"
    assert other not in found
    assert "new verdicts" in capsys.readouterr().out
    assert main(["judge", "--data-dir", str(tmp_path / "data"), "--taste", "--model", "any"]) == 2
    assert "nearness needs no local model" in capsys.readouterr().err
    assert main(["judge", "--data-dir", str(tmp_path / "data"), "--study", STUDY, "--taste", "ctr"]) == 2
    assert "ctr has learned nothing yet" in capsys.readouterr().err


def test_what_was_learned_on_a_base_judges_on_that_base(
    tiny: Backbone, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = small_study(tmp_path / "data")
    likes = [Item("test", str(n), "joke", cat) for n, cat in enumerate(CATS[:3])]
    store.add(RATERS[0], [(item, Signal(item.id, 1)) for item in likes])
    pair = judge_pair(store, RATERS[0], text("item", CATS[3]), text("item", CODE[3]), "left", position=9)
    said = [*((words, 1) for words in CATS), *((words, -1) for words in CODE)]
    crowd = [
        (f"u{n}", [(Item("t", f"{n}-{k}", "joke", f"{words} {n}"), Signal(f"t:{n}-{k}", sign))
                   for k, (words, sign) in enumerate(said)])
        for n in range(40)
    ]  # fmt: skip
    write_reactions(tmp_path / "crowd.jsonl", crowd)
    quick = ["--steps", "2", "--evaluate-every", "1", "--model", str(tiny_folder)]
    learned = ["learn", "tam", "ctr", "--population", str(tmp_path / "crowd.jsonl"), "--out", str(tmp_path / "data")]
    assert learn([*learned, *quick, "--batch", "2", "--accumulate", "1", "--max-target-tokens", "8"]) == 0
    asked = ["judge", "--data-dir", str(tmp_path / "data"), "--study", STUDY, "--taste", "ctr"]
    assert main([*asked, "--model", str(tiny_folder)]) in (None, 0)
    name = f"ctr on {Backbone.load(str(tiny_folder)).name}, knows the rater"
    assert pair in Register(store).verdicts(name), capsys.readouterr()
