"""A copy is found whatever its case and marks; what only shares a phrase is none."""

from engine.pretrained.memorised import Taught, report

TAUGHT = (
    "The goat ate the minutes of the meeting, and nobody had anything to add.",
    "My doctor says that I should floss; I said that he should listen.",
)


def test_the_longest_run_of_words_is_counted_without_marks_and_case():
    taught = Taught(TAUGHT)
    assert taught.longest_run("the GOAT ate -- the minutes!") == 5
    assert taught.longest_run("The minutes of the doctor.") == 4
    assert taught.longest_run("Floss the goat.") == 2
    assert taught.longest_run("") == 0
    assert taught.longest_run("\u732b") == 0
    assert taught.longest_run(TAUGHT[0]) == 14


def test_copies_are_counted_by_words_or_by_nearness():
    copied = report(Taught(TAUGHT), [TAUGHT[1].upper(), TAUGHT[0][:-1]])
    assert (copied["copied"], copied["run_most"]) == (1.0, 14)
    fresh = report(Taught(TAUGHT), ["A lighthouse is a very bad place to hide.", "Bees do not read."])
    assert fresh["copied"] == 0
    assert fresh["nearest_mean"] < 0.5
