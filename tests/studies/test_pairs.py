"""Pairs: what the schedule says is written, both sides alike; what may not be shown is kept with its reason."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from itertools import count as numbers
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine.backbone import Backbone
from engine.decode import Generation
from engine.methods import ARMS, Ask, arm_id
from engine.methods.history import History
from engine.methods.lora import LoRA
from engine.methods.none import NoProfile
from engine.methods.reranked import Reranked
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary
from engine.profile import Profile, build
from studies import pairs
from studies.pairs import MAX_ATTEMPTS, Person, lacking, make_card, make_pairs, tidy, title
from studies.schedule import HUMAN, ask_seed, schedule_id, slot
from studies.store import MAX_HUMAN, Row, Store
from tests.names import BEGINNING, TAUGHT

WORDS = re.findall(
    r"\w+",
    """duck door lamp rain sofa moon fork hill wolf gate coin boat drum leaf sand wind corn milk bell rope fish bird
    tree star road ship salt wine iron gold silk wood stone glass paper house table chair river cloud storm field grass
    bread sugar apple lemon onion horse sheep tiger mouse snake whale shark eagle robin queen king""",
)


class Talker(Backbone):
    """The tiny model, its logits held to everyday words and, after `least` of them, a full stop that ends the turn.

    So the real decoder draws real samples from it, short enough to be quick and whole enough to be shown.
    """

    def __init__(self, tiny: Backbone, least: int = 7, most: int = 12) -> None:
        super().__init__(tiny.model, tiny.tokenizer, "talker", tiny.plan)
        self.least, self.most = least, most
        self.words = [ids[0] for word in WORDS if len(ids := self.tokens(f" {word}")) == 1]
        (self.stop,) = self.tokens(".")
        self.begun = torch.zeros(0)

    def step(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        logits = super().step(ids, mask, positions, cache)  # (B, V)
        if ids.shape[1] > 1:
            self.begun = positions[:, -1]
        age = positions[:, -1] - self.begun  # (B,): words so far
        held = torch.full_like(logits, -torch.inf)
        held[:, self.words] = logits[:, self.words] / 4  # flat, so that no two texts are alike
        held[age >= self.least, self.stop] = held.max()
        held[age >= self.most, :] = -torch.inf
        held[age >= self.most, self.stop] = 0.0
        ended = (ids[:, -1] == self.stop) & (age > 0) if ids.dim() == 2 else age < 0  # soft tokens come with the first
        held[ended, :] = -torch.inf
        held[ended, min(self.stop_ids)] = 0.0
        return held


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """A model this small is several times faster on one thread, however busy the machine is."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def talker(tiny: Backbone) -> Talker:
    return Talker(tiny)


@pytest.fixture
def mute(tiny: Backbone) -> Talker:
    """It never says more than a word: nothing that may be shown."""
    return Talker(tiny, least=1, most=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.open_session("a", "me")
    return store


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Ask]]:
    """Every request that reached the decoder, which does its work all the same."""
    requests: list[tuple[Any, Ask]] = []
    real = pairs.decode

    def spy(lm: Backbone, told: list[tuple[Any, Ask]]) -> list[list[Generation]]:
        requests.extend(told)
        return real(lm, told)

    monkeypatch.setattr(pairs, "decode", spy)
    return requests


def post(name: object, text: str = "", maker: Any = "person") -> Item:
    """Of the half that is kept for pairs: an id ends in as many marks as that takes."""
    told = text or f"A person was here ({name}) and left before the bus came back."
    items = (Item("test", f"{name}{'+' * n}", "joke", told, maker=maker) for n in numbers())
    return next(item for item in items if sha256(item.id.encode()).hexdigest()[15] >= "8")


def posts(store: Store, count: int) -> list[Item]:
    """Posts by people that "me" has not seen."""
    items = [post(n) for n in range(count)]
    store.add("me", [(item, None) for item in items])
    return items


def likes(store: Store, count: int) -> None:
    items = [
        post(f"liked {n}", f"Liked number {n}: a sock left the drawer for good, and wrote home.") for n in range(9)
    ]
    store.add("me", [(item, Signal(item.id, 1)) for item in items[:count]])


def person(store: Store, summary: str = "", seed: int = 0) -> Person:
    """As the worker would make it, with or without a summary."""
    profile = build("me", store.reactions("me"), summary=summary)
    if not summary:
        return Person(profile, None, seed)
    store.save_summary("me", summary, profile.digest, len(profile.items), "engine")
    return Person(profile, (store.latest_summary("me") or {})["id"], seed)


def trials(store: Store, kind: str = "pair") -> list[Row]:
    """Everything written, in order, with both sides."""
    return store.db.rows(
        """select t.*, l.arm as left_arm, r.arm as right_arm, l.text as left_text, r.text as right_text,
        l.evidence as left_evidence, r.evidence as right_evidence, l.item_id as left_item, r.item_id as right_item
        from trial t join candidate l on l.id = t.left_id left join candidate r on r.id = t.right_id
        where t.kind = :kind order by t.rowid""",
        kind=kind,
    )


def asks(rows: list[Row]) -> list[Ask]:
    return [Ask(**json.loads(row["ask"])) for row in rows]


FLOOR = sorted(arm for arm, method in ARMS.items() if method.name == "none")
HISTORY, RETRIEVAL, SUMMARY = (arm_id(method) for method in (History(), Retrieval(), Summary()))
RERANKED = arm_id(Reranked())  # it needs no teaching, and takes part once it is chosen


# ---- who may take part


def test_what_each_arm_waits_for_is_told_in_words(store: Store, talker: Talker) -> None:
    nothing = lacking(store, talker, person(store).profile)
    assert nothing.keys() == {HISTORY, RETRIEVAL, SUMMARY, RERANKED, HUMAN, *TAUGHT}
    assert not any("learned nothing" in nothing[arm] for arm in TAUGHT), "there is no use in teaching before likes"
    assert "at least one like" in nothing[HISTORY]
    assert "5 more likes" in nothing[RETRIEVAL]
    assert "three likes" in nothing[SUMMARY]
    assert "posts by people that you have not seen" in nothing[HUMAN]
    likes(store, 2)
    some = lacking(store, talker, person(store).profile)
    assert some.keys() == {RETRIEVAL, SUMMARY, RERANKED, HUMAN, *TAUGHT}
    assert "3 more likes" in some[RETRIEVAL]
    likes(store, 5)
    posts(store, 1)
    rest = lacking(store, talker, person(store, "This one enjoys socks.").profile)
    assert rest.keys() == {RERANKED, *TAUGHT}
    remarks = {arm_id(LoRA(of="picked")), arm_id(LoRA(of="explained"))}
    assert {arm for arm in TAUGHT if "has learned nothing yet for talker" in rest[arm]} == {*TAUGHT} - remarks
    assert all(rest[arm].endswith("on the Train page") for arm in remarks)


def test_only_unseen_posts_by_people_that_are_short_enough_count_as_human(store: Store, talker: Talker) -> None:
    """The sample feed is the project's own, a liked one was seen, a generated one is no person's."""
    store.add("me", Sample())
    likes(store, 3)
    long = post("long", "word " * (MAX_HUMAN // 5) + "x")
    store.add("me", [(long, None), (post("made", maker="model"), None)])
    assert len(long.text) == MAX_HUMAN + 1
    assert HUMAN in lacking(store, talker, person(store).profile)
    assert make_pairs(store, talker, person(store), 8) > 4
    assert HUMAN not in {row[f"{side}_arm"] for row in trials(store) for side in ("left", "right")}
    just = post("just", ("word " * (MAX_HUMAN // 5))[:-1] + ".")
    store.add("me", [(just, None)])
    assert len(just.text) == MAX_HUMAN
    assert HUMAN not in lacking(store, talker, person(store).profile)


# ---- what is written


def test_pairs_are_what_the_schedule_says(store: Store, talker: Talker) -> None:
    likes(store, 5)
    people = posts(store, 20)
    me = person(store, "This one enjoys socks.", seed=7)
    arms = [*BEGINNING, HUMAN]
    schedule = schedule_id(7, arms)
    made = sum(make_pairs(store, talker, me, 4) for _ in range(4))
    rows = trials(store)
    assert len(rows) == 16
    assert len(store.ready("me", "pair")) == made == sum(row["void_reason"] is None for row in rows) > 12
    assert {(row["position"], row["attempt"]) for row in rows} >= {(position, 0) for position in range(12)}
    for row, ask in zip(rows, asks(rows), strict=True):
        place = slot(7, arms, row["position"])
        assert (row["left_arm"], row["right_arm"], ask.payload) == (place.left, place.right, place.topic)
        assert ask == Ask(payload=place.topic, seed=ask_seed(schedule, row["position"], row["attempt"]))
        assert (row["rater"], row["role"], row["schedule"], row["engine"]) == (
            "me",
            "judge",
            schedule,
            talker.fingerprint,
        )
        assert (row["profile_digest"], row["summary"]) == (me.profile.digest, me.summary)
        assert (row["session"], row["shown_at"]) == (None, None)
    (order,) = store.db.rows("select * from schedule")
    assert (order["id"], order["seed"], json.loads(order["arms"])) == (schedule, 7, sorted(arms))
    texts = {item.id: item.text for item in people}
    human = [
        (row[f"{s}_item"], row[f"{s}_text"]) for row in rows for s in ("left", "right") if row[f"{s}_arm"] == HUMAN
    ]
    assert len(human) > 2
    assert all(texts[item] == text for item, text in human)
    shown = [row for row in rows if row["void_reason"] is None]
    drawn = Counter(row[f"{s}_item"] for row in shown for s in ("left", "right") if row[f"{s}_arm"] == HUMAN)
    assert set(drawn.values()) == {1}  # no post is asked about twice


def test_both_sides_are_asked_with_the_same_sampler_and_seed(
    store: Store, talker: Talker, asked: list[tuple[Any, Ask]]
) -> None:
    likes(store, 5)
    make_pairs(store, talker, person(store, "This one enjoys socks."), 6)
    stored = asks(trials(store))
    assert len(asked) == 12
    assert [ask for _, ask in asked] == [ask for ask in stored for _ in ("left", "right")]
    assert len({ask.seed for ask in stored}) == 6
    default = asdict(Ask())
    for ask in stored:
        told = asdict(ask)
        assert {name for name in told if told[name] != default[name]} == {"payload", "seed"}


def test_the_likes_that_a_prompt_held_are_kept_with_its_text(
    store: Store, talker: Talker, asked: list[tuple[Any, Ask]]
) -> None:
    likes(store, 5)
    me = person(store)
    make_pairs(store, talker, me, 10)
    liked = {item.id: item.text for item in me.profile.liked}
    kept = [
        (row[f"{side}_arm"], json.loads(row[f"{side}_evidence"])) for row in trials(store) for side in ("left", "right")
    ]
    assert [evidence for _, evidence in kept] == [list(conditioning.evidence) for conditioning, _ in asked]
    for (arm, evidence), (conditioning, _) in zip(kept, asked, strict=True):
        assert len(evidence) == (0 if arm in FLOOR else 4)
        assert all(liked[item] in conditioning.messages[-1]["content"] for item in evidence)
    assert {arm for arm, _ in kept} == {*FLOOR, HISTORY, RETRIEVAL}


def test_the_same_person_gets_the_same_pairs_on_a_new_machine(store: Store, talker: Talker, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    other.open_session("a", "me")
    for one in (store, other):
        make_pairs(one, talker, person(one), 3)
    told = [
        [(row["left_text"], row["right_text"], row["ask"], row["schedule"]) for row in trials(one)]
        for one in (store, other)
    ]
    assert told[0] == told[1]
    texts = [text for row in told[0] for text in row[:2]]
    assert len(set(texts)) == 6


# ---- what may not be shown


def test_a_void_pair_keeps_its_reason_and_its_place_is_tried_again_a_few_times(store: Store, mute: Talker) -> None:
    me = person(store)
    rounds = 2 * MAX_ATTEMPTS + 1
    assert [make_pairs(store, mute, me, 1) for _ in range(rounds)] == [0] * rounds
    rows = trials(store)
    places = [(row["position"], row["attempt"]) for row in rows]
    expected = [(position, attempt) for position in range(3) for attempt in range(MAX_ATTEMPTS)]
    assert places == expected[:rounds]
    assert {row["void_reason"] for row in rows} == {"empty"}
    assert len({ask.seed for ask in asks(rows)}) == rounds  # another attempt is another draw
    assert store.ready("me", "pair") == []


def test_the_holes_of_void_pairs_are_filled_before_the_schedule_goes_on(
    store: Store, talker: Talker, mute: Talker
) -> None:
    me = person(store)
    make_pairs(store, mute, me, 2)
    assert make_pairs(store, talker, me, 3) == 3
    places = [(row["position"], row["attempt"], row["void_reason"]) for row in trials(store)]
    assert places == [(0, 0, "empty"), (1, 0, "empty"), (0, 1, None), (1, 1, None), (2, 0, None)]
    assert make_pairs(store, talker, me, 1) == 1
    assert trials(store)[-1]["position"] == 3


def test_a_text_that_the_budget_cut_off_is_void(store: Store, tiny: Backbone) -> None:
    endless = Talker(tiny, least=99, most=99)
    assert make_pairs(store, endless, person(store), 1) == 0
    (row,) = trials(store)
    assert row["void_reason"] == "truncated"
    assert make_card(store, endless, person(store), 0) == 0
    assert trials(store, "card")[0]["void_reason"] == "truncated"


def test_new_arms_take_the_waiting_pairs_out_and_leave_those_on_the_table(store: Store, talker: Talker) -> None:
    make_pairs(store, talker, person(store), 3)
    seen, *waiting = (row["id"] for row in store.ready("me", "pair"))
    assert store.show(seen, "a")
    likes(store, 1)
    made = make_pairs(store, talker, person(store), 2)
    reasons = {row["id"]: row["void_reason"] for row in trials(store)}
    assert reasons[seen] is None
    assert [reasons[trial] for trial in waiting] == ["superseded"] * 2
    schedule = schedule_id(0, [*FLOOR, HISTORY])
    assert [row["schedule"] for row in store.ready("me", "pair")] == [schedule] * made
    assert made == 2
    before = trials(store)
    assert make_pairs(store, talker, person(store), 1) == 1
    assert trials(store)[:-1] == before  # the same arms: nothing more is taken out


def test_places_for_human_posts_are_passed_over_while_the_last_ones_wait(store: Store, talker: Talker) -> None:
    posts(store, 1)
    me = person(store)
    arms = [*FLOOR, HUMAN]
    human = [n for n in range(40) if HUMAN in (slot(0, arms, n).left, slot(0, arms, n).right)]
    others = [n for n in range(40) if n not in human]
    assert make_pairs(store, talker, me, 6) == 6
    assert [row["position"] for row in trials(store)] == sorted([human[0], *others[:5]])
    assert HUMAN not in lacking(store, talker, me.profile)  # the one that waits is still to come
    store.add("me", [(post("one more"), None)])
    assert make_pairs(store, talker, me, 1) == 1
    assert trials(store)[-1]["position"] == human[1]
    rows = [row for row in trials(store) if HUMAN in (row["left_arm"], row["right_arm"])]
    assert [row["position"] for row in rows] == human[:2]
    assert {row["left_item"] or row["right_item"] for row in rows} == {post(0).id, post("one more").id}
    for row in rows:
        assert store.show(row["id"], "a")
    assert HUMAN in lacking(store, talker, me.profile)
    assert make_pairs(store, talker, me, 2) == 2
    assert {row["schedule"] for row in store.ready("me", "pair")} == {schedule_id(0, FLOOR)}
    reasons = {row["position"]: row["void_reason"] for row in trials(store)[:7]}
    assert reasons == {n: None if n in human else "superseded" for n in reasons}


@pytest.mark.parametrize("text", ["Same here.", "I'm sorry, but my wife has the other sock.", "I do so too."])
def test_a_human_post_that_may_not_be_shown_does_not_stand_in_the_way_of_the_others(
    store: Store, talker: Talker, text: str
) -> None:
    """Too short, with words that models refuse in, or far shorter than what the models write."""
    bad = post("bad", text)
    store.add("me", [(bad, None)])
    good = posts(store, 80)
    for item in takewhile(lambda item: item != bad, store.unseen("me", "pair", limit=99)):
        store.add("me", [(item, Signal(item.id, 0))])  # so that the bad one would be drawn first
        good.remove(item)
    assert len(good) > 5
    me = person(store)
    talker.least, talker.most = 16, 18
    for _ in range(14):
        make_pairs(store, talker, me, 1)
    judged = [row for row in trials(store) if HUMAN in (row["left_arm"], row["right_arm"])]
    assert [row for row in judged if row["void_reason"] is None], Counter(row["void_reason"] for row in judged)


def test_however_many_posts_may_not_be_shown_the_others_are_found(store: Store, talker: Talker) -> None:
    bad = [post(f"bad {n}", f"Ha {n}.") for n in range(300)]
    store.add("me", [(item, None) for item in bad])
    good = posts(store, 30)
    ahead = [item for item in store.unseen("me", "pair", limit=150) if item in good]
    assert 5 < len(ahead) < 25
    store.add("me", [(item, Signal(item.id, 0)) for item in ahead])  # they were rated: now 135 bad ones come first
    me = person(store)
    assert HUMAN not in lacking(store, talker, me.profile)
    make_pairs(store, talker, me, 6)
    drawn = {row["left_item"] or row["right_item"] for row in trials(store)} - {None}
    assert drawn
    assert drawn <= {item.id for item in good if item not in ahead}


def test_two_thousand_likes_do_not_make_it_slow_to_ask_who_may_take_part(store: Store, talker: Talker) -> None:
    """The worker asks before each pair, and the page after each reaction."""
    items = tuple(post(f"like {n}", " ".join(f"w{n * i % 4_999}" for i in range(25))) for n in range(2_000))
    profile = Profile("me", items, tuple(Signal(item.id, 1) for item in items), summary="This one enjoys words.")
    posts(store, 60)
    lacking(store, talker, profile)
    started = time.thread_time()
    assert lacking(store, talker, profile).keys() == {RERANKED, *TAUGHT}
    assert time.thread_time() - started < 0.5  # seconds of this thread's work; a tenth of that is enough


# ---- cards


def test_cards_are_written_by_the_arms_in_turn_and_teach(store: Store, talker: Talker) -> None:
    likes(store, 1)
    posts(store, 3)
    me = person(store, seed=3)
    assert [make_card(store, talker, me, turn) for turn in range(8)] == [1] * 8
    rows = trials(store, "card")
    arms = sorted([*FLOOR, HISTORY])  # never a person: that is what blind pairs are for
    assert [row["left_arm"] for row in rows] == arms * 2
    assert {(row["role"], row["right_id"], row["schedule"], row["position"]) for row in rows} == {
        ("teach", None, None, None)
    }
    assert {row["profile_digest"] for row in rows} == {me.profile.digest}
    assert len({ask.payload for ask in asks(rows)}) == 8
    assert len({row["left_text"] for row in rows}) == 8
    assert trials(store) == []


def test_a_void_card_keeps_its_reason(store: Store, mute: Talker) -> None:
    assert make_card(store, mute, person(store), 0) == 0
    assert [row["void_reason"] for row in trials(store, "card")] == ["empty"]
    assert store.ready("me", "card") == []


def test_other_likes_bring_other_cards(store: Store, talker: Talker) -> None:
    make_card(store, talker, person(store), 0)
    item = post("disliked")
    store.add("me", [(item, Signal(item.id, -1))])  # a dislike adds no arm
    make_card(store, talker, person(store), 0)
    first, second = trials(store, "card")
    assert first["left_arm"] == second["left_arm"]
    assert first["left_text"] != second["left_text"]


# ---- how a text is shown


@pytest.mark.parametrize(
    ("finish", "raw", "shown"),
    [
        ("stop", "A duck walks in.", "A duck walks in."),
        ("stop", "  A duck\twalks   in.\r\n\r\nIt leaves. ", "A duck walks in.\n\nIt leaves."),
        ("stop", "A duck\u202e walks\ue000 in\x07.", "A duck walks in."),
        ("stop", '"A duck walks in."', "A duck walks in."),
        ("stop", "\u201cA duck walks in.\u201d", "A duck walks in."),
        ("stop", '" A duck walks in. "', "A duck walks in."),
        ("stop", "'A duck walks in.'", "'A duck walks in.'"),
        ("stop", '"A duck," he said, "walks in."', '"A duck," he said, "walks in."'),
        (
            "stop",
            "\u201cA duck,\u201d he said, \u201cwalks in.\u201d",
            "\u201cA duck,\u201d he said, \u201cwalks in.\u201d",
        ),
        ("stop", 'A duck says "quack."', 'A duck says "quack."'),
        ("stop", '"Quack," says the duck.', '"Quack," says the duck.'),
        ("stop", '"', '"'),
        ("stop", '""', ""),
        ("stop", "", ""),
        ("stop", "It said half of", "It said half of"),
        ("budget", "A duck walks in. It said half of", "A duck walks in."),
        ("budget", 'A duck says "quack." Then it', 'A duck says "quack."'),
        ("budget", "It said half of", "It said half of"),
        ("budget", '"A duck walks in." And then "it', "A duck walks in."),
    ],
)
def test_tidy(finish: Any, raw: str, shown: str) -> None:
    assert tidy(Generation(raw, (), finish)) == shown


def test_every_arm_has_a_title_of_its_own() -> None:
    titles = {arm: title(arm) for arm in [*ARMS, HUMAN]}
    assert len(set(titles.values())) == len(titles)
    assert titles[HUMAN] == "a person wrote this"
    assert titles[arm_id(NoProfile("plain"))] == "no profile"
    assert titles[arm_id(NoProfile("comedian"))] == "no profile (prompt comedian)"
    assert not [told for told in titles.values() if "History(" in told or "-" in told]


def test_an_arm_of_an_earlier_version_still_has_a_title() -> None:
    """Votes outlive the settings that they were about: another setting is another arm."""
    assert title("history-0ld123")
