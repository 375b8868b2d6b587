"""Leaks: every rule with texts that break it and texts that just do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.item import Item, Signal
from collectors.sample import Sample
from engine.methods.base import Ask
from engine.profile import Profile
from studies.leaks import MAX_LENGTH_RATIO, void_reason

LIKED = "My wifi password is my dog's name, so now the dog is down as well."
DISLIKED = "What is brown and sticky and lies in the woods? A stick."
ITEMS = (Item("test", "1", "joke", LIKED), Item("test", "2", "joke", DISLIKED))
SIGNALS = (Signal(ITEMS[0].id, 1), Signal(ITEMS[1].id, -1))
SUMMARY = "The reader enjoys deadpan one-liners about pets and the machines that fail them daily."
PROFILE = Profile("somebody", ITEMS, SIGNALS, summary=SUMMARY)
ASK = Ask(payload="the dentist")
FINE = "The dentist asked me to relax. I told him the bill should relax first."

BROKEN = {
    "empty": [
        "",
        "Ha.",
        "One two three.",
        "!!! ... ??? --- \u2026",
    ],
    "refusal": [
        "I'm sorry, but I can't write jokes about dentists.",
        "I'm sorry, but I can't assist with that.",
        "I\u2019m really sorry, but I can\u2019t do that for you.",
        '"I am sorry, but I cannot provide a joke that makes fun of people."',
        "**I'm sorry**, but I'm not able to tell jokes about that subject.",
        "I'm sorry, but it is not appropriate to joke about this.",
        "I'm sorry, but I don't understand what you mean by that.",
        "Im sorry, that is beyond what I do here.",
        "Sorry, I can't help with that.",
        "I apologize, but I cannot fulfill this request.",
        "I apologise for any confusion, but I do not have personal opinions.",
        "Unfortunately, I cannot create jokes that may be offensive.",
        "I cannot help with that request, please ask for something else.",
        "I can't assist with that one today.",
        "I am unable to create content of such a kind.",
        "I won't write a joke about that.",
        "I do not feel comfortable joking about this.",
        "As an AI language model I have no teeth to speak of.",
        "As a language model, I never floss anything.",
        "Sure! As an AI model, here is what I would say of teeth.",
        "The drill stops. As an AI, I have never felt one.",
        "Teeth are for people, and I'm just an AI.",
        "I'm an AI assistant and have no dentist of my own.",
    ],
    "telltale": [
        "Since you like cats, here is one about a sofa.",
        "BECAUSE YOU LOVE deadpan, the dentist says nothing.",
        "Knowing you always enjoy puns, I brought a crown.",
        "As someone who loves dogs you will know the drill.",
        "As a person who enjoys silence, meet the drill.",
        "Since you're a fan of machines: the drill is one.",
        "As a fan of dry humor, you will know the drill.",
        "The drill is dry, to fit your taste in comedy.",
        "The drill is dry, like your sense of humour.",
        "It fits my sense of humor, said the drill.",
        "A drill that matches your preferences walks in.",
        "Based on your profile the drill stays silent.",
        "This person enjoys drills that say nothing.",
        "Here is a drill that always makes you laugh.",
    ],
    "quotes the profile": [
        "He said my wifi password is my dog's favourite word.",  # my wifi password is my dog
        "So: NOW, the dog is -- down; as my tooth was.",
        "A fan of deadpan one liners about pets and the dentist.",
    ],
    "quotes the instruction": [
        "He was told to write only the joke, in one breath.",
        "One short, funny joke about the dentist is this one.",
    ],
}
PASSES = [
    FINE,
    "Four words will do.",
    "My wifi password is my cat's name, which changes when she is hungry.",  # five words of a like
    "Well, now the dog is down, and the dentist is not.",  # five words of a like
    "What is brown and sticky and lies in my mouth after lunch?",  # what was disliked is told to nobody
    "Write only the joke, said the dentist, and kept the drill running.",  # four words of the instruction
    "A dentist, a lawyer and a duck walk into a bar; you know the rest.",
    "You like it when the drill stops. So does the dentist.",
    "As you can imagine, the dentist was late because his own tooth hurt.",
    "Since Monday the dentist has a sign: no more puns about crowns.",
    "The dentist told me to know my teeth. I said we had met.",
    "Someone who never flosses has no right to be surprised.",
    "The profile of the moon looked like a molar tonight.",
    "My dentist said: 'I'm sorry, but you have the teeth of a much older horse.'",
    "I'm sorry, but you will have to floss like everybody else.",
    '"I\'m sorry," said the drill, and it was the only one in the room who was.',
    "I'm sorry I'm late, the dentist kept half of my face until noon.",
    "I'm sorry, I can't hear you over the sound of my own molars.",
    "Sorry, I don't have change, said the tooth fairy.",
    "Sure, I'm sorry, but I can't write with a bib on, said the patient.",
    "I can't help but smile at my dentist, now that he owns the smile.",
    "I can't tell if the dentist likes me or my insurance.",
    "I can't make this up: the dentist had a toothache.",
    "I don't always tell dad jokes, but when I do, the dentist laughs.",
    "That is a topic which I can't help with today, said the dentist, and drilled.",
    "She dressed as an AI and asked every guest for a tooth.",
    "La dentista mi ha chiesto di rilassarmi, ma il conto no.",
]


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in BROKEN.items() for text in texts])
def test_a_text_that_breaks_a_rule_voids_the_pair_on_either_side_and_the_single_card(code: str, text: str) -> None:
    got = [void_reason(text, FINE, ASK, PROFILE), void_reason(FINE, text, ASK, PROFILE)]
    assert [*got, void_reason(text, None, ASK, PROFILE)] == [code] * 3


@pytest.mark.parametrize("text", PASSES)
def test_a_harmless_text_passes(text: str) -> None:
    other = "A pigeon queued politely at the surgery until somebody called its number."
    got = [void_reason(text, other, ASK, PROFILE), void_reason(other, text, ASK, PROFILE)]
    assert [*got, void_reason(text, None, ASK, PROFILE)] == [None] * 3


def test_no_text_of_the_sample_feed_breaks_a_rule() -> None:
    texts = [item.text for item, _ in Sample()]
    assert {text: code for text in texts if (code := void_reason(text, None, ASK, PROFILE))} == {}


def test_six_words_in_a_row_are_a_quotation_and_five_are_not() -> None:
    told = "alpha bravo charlie delta echo foxtrot golf hotel"
    item = Item("test", "3", "joke", told)
    liked = Profile("somebody", (item,), (Signal(item.id, 1),))
    disliked = Profile("somebody", (item,), (Signal(item.id, -1),))
    summed_up = Profile("somebody", summary=told)
    quoting, five = (
        "He said: Charlie, delta echo. FOXTROT golf (hotel)!",
        "He said charlie delta echo foxtrot golf then.",
    )
    assert void_reason(quoting, None, ASK, liked) == "quotes the profile"
    assert void_reason(quoting, None, ASK, summed_up) == "quotes the profile"
    assert void_reason(quoting, None, ASK, disliked) is None
    assert void_reason(quoting, None, ASK, Profile("somebody")) is None
    assert void_reason(five, None, ASK, liked) is None
    assert void_reason("Alpha bravo charlie x delta echo foxtrot golf.", None, ASK, liked) is None  # not in a row


def test_what_both_sides_share_is_no_quotation_but_a_repeated_text_is_no_choice() -> None:
    assert void_reason(FINE, FINE, ASK, PROFILE) == "near-duplicates"
    assert void_reason(FINE, FINE.upper().replace(".", " !"), ASK, PROFILE) == "near-duplicates"
    words = FINE.split()
    assert void_reason(FINE, " ".join(reversed(words)), ASK, PROFILE) == "near-duplicates"


def test_a_text_that_begins_the_other_is_no_choice() -> None:
    longer = f"{FINE} He did not, and sent it twice, with interest and a toothbrush."
    for end in (longer, FINE.upper().rstrip(".") + "! And so it went for all of us, year after year, until the crown."):
        assert void_reason(FINE, end, ASK, PROFILE) == "near-duplicates"
        assert void_reason(end, FINE, ASK, PROFILE) == "near-duplicates"
    assert void_reason(FINE, "Well: " + longer, ASK, PROFILE) is None  # it holds the other, and begins otherwise


@pytest.mark.parametrize(("shared", "code"), [(8, None), (9, "near-duplicates")])
def test_up_to_four_of_five_words_may_be_the_same(shared: int, code: str | None) -> None:
    common = " ".join(f"word{n}" for n in range(shared))
    assert void_reason(f"{common} left", f"right {common}", ASK, PROFILE) == code  # 8 of 10, 9 of 11 words


def test_one_text_may_be_six_times_as_long_and_no_longer() -> None:
    short = "aa bb cc dd"
    longest = "The dentist".ljust(int(MAX_LENGTH_RATIO * len(short)) - 1, "e") + "."
    longest = longest.replace("eeeeeeee", "ee ff gg", 1)
    assert len(longest) == 6 * len(short) == 66
    assert void_reason(short, longest, ASK, PROFILE) is None
    assert void_reason(longest, short, ASK, PROFILE) is None
    assert void_reason(short, longest + "!", ASK, PROFILE) == "length ratio"
    assert void_reason(longest + "!", short, ASK, PROFILE) == "length ratio"
    assert void_reason(longest + "!", None, ASK, PROFILE) is None


POOL = [*PASSES, *(text for texts in BROKEN.values() for text in texts), "aa bb cc dd", "x " * 200]


@given(st.sampled_from(POOL), st.sampled_from(POOL))
def test_sides_are_treated_alike_and_a_pair_is_no_better_than_its_texts(left: str, right: str) -> None:
    forward, backward = void_reason(left, right, ASK, PROFILE), void_reason(right, left, ASK, PROFILE)
    alone = {void_reason(left, None, ASK, PROFILE), void_reason(right, None, ASK, PROFILE)} - {None}
    assert (forward is None) == (backward is None)
    if alone:
        assert {forward, backward} <= alone
    else:
        assert forward == backward
