"""How far the votes can be trusted: agreement of people and judges, and whether arms are told by their texts."""

import random
from collections import defaultdict

from studies.agreement import agree, agree_alone, between_marks, between_people, repeatability
from studies.detect import detection, recognisability
from studies.figures import NONE, Cell, forest, table, whole
from studies.ratings import MIN_VOTES, Ballot
from studies.schedule import HUMAN
from studies.sections.page import TOO_FEW, Page, Section, bar, of_interval, percent, plain, signed, with_bounds

MAX_TEXTS = 200  # of each arm that the classifier reads, drawn by the seed: it takes minutes over thousands


def agreement(page: Page) -> Section | None:
    """None in play, where no trial comes again and one person judges, unless there is something to tell."""
    records, seed = page.records, page.seed
    told = (
        "How often raters said the same of a trial that came again later, a pair with its sides swapped: nobody can "
        "predict their choices better than they do. Kappa takes chance off, and so does Krippendorff's alpha, of "
        f"raters who judged the same texts. {page.bounds}"
    )
    pairs = repeatability(records.ballots, records.repeats, seed=seed)
    first = {mark.trial: mark.choice for mark in records.marks}
    again = [(mark.rater, mark.choice == first[mark.repeats]) for mark in records.mark_repeats if mark.repeats in first]
    items: dict[str, list[Ballot]] = defaultdict(list)
    for ballot in records.ballots:
        items["\n\n".join(sorted((ballot.left_text, ballot.right_text)))].append(ballot)
    alone = "between raters on the same single texts: Krippendorff's alpha of"
    rows = (
        of_interval("pairs: the same of left, right and tie", pairs.same),
        of_interval("pairs: the same text, where both times one was chosen", pairs.decided),
        of_interval("pairs: kappa", pairs.kappa, plain),
        page.of_share("single texts: the same verdict", again),
        of_interval("between raters on the same pairs: Krippendorff's alpha", between_people(items), plain),
        of_interval(f"{alone} like", between_marks(records.marks, ("dislike", "like"), seed=seed), plain),
        of_interval(f"{alone} funny", between_marks(records.marks, ("not_funny", "funny"), seed=seed), plain),
    )
    there = [row for row in rows if row]
    if not there and records.study is None:
        return None
    body = table("Raters beside themselves and each other", ("what", "how often", "verdicts"), there) if there else ""
    return Section("agreement", "Agreement of raters", told, body, "counted votes on trials that were shown again")


def judges(page: Page) -> Section | None:
    """None of single texts alone, where no judge was asked."""
    told = (
        "Language models asked about the same blind pairs in both orders; a verdict that does not survive the swap is "
        "a tie. Accuracy is over pairs that both decided, kappa over left, right and tie, rank is Spearman's between "
        "the arms' strengths by people and by the judge, AUC of its log-odds for what people chose. People's own "
        f"agreement with themselves stands above: nobody can do better. {page.bounds}"
    )
    records = page.records
    rows: list[tuple[Cell, ...]] = []
    for name, verdicts in records.judges.items():
        choices = {trial: choice for trial, (choice, _) in verdicts.items()}
        scores = {trial: score for trial, (_, score) in verdicts.items()}
        found = agree(records.ballots, choices, scores, seed=page.seed)
        judged = [choices[ballot.trial] for ballot in records.ballots if ballot.trial in choices]
        if one := agree_alone(records.marks, scores, seed=page.seed):
            rows.append((f"{name}, single texts", one.n, NONE, NONE, NONE, NONE, with_bounds(one)))
        if judged:
            ties = f"{sum(choice == 'tie' for choice in judged) / len(judged):.0%}"
            parts = (found.accuracy, found.kappa, found.rank, found.auc)
            rows.append((name, len(judged), ties, *map(with_bounds, parts)))
    if not rows and "pair" not in records.kinds:
        return None
    head = ("judge", "trials", "ties", "accuracy", "kappa", "rank", "AUC")
    body = table("Judges beside people", head, rows) if rows else ""
    return Section("judges", "LLM judges", told, body, "verdicts: run python -m studies judge")


def detected(page: Page) -> Section:
    asked = "pairs and cards of the feed: of marks it is not asked" if "mark" in page.records.kinds else "all texts"
    told = (
        "Whether people can tell that a machine wrote it: how often each arm was marked as sounding like AI, and how "
        "far that sets it apart from posts by people (d', 0 for not at all, a mean over raters with Student's "
        f"interval). The bias is above 0 where raters seldom mark anything. It is of {asked}. {page.bounds}"
    )
    rows = detection(page.records.ballots, page.records.marks, seed=page.seed)
    rows.sort(key=lambda row: page.order(row.arm))
    cells = [
        (
            page.arm(row.arm),
            percent(row.rate.value, row.rate.low, row.rate.high, row.rate.n),
            with_bounds(row.d_prime),
            NONE if row.bias is None else signed(row.bias),
            row.rate.n,
        )
        for row in rows
    ]
    bars = [bar(page.arm(row.arm), row.rate.value, row.rate.low, row.rate.high, row.rate.n) for row in rows]
    body = forest("Marked as sounding like AI", bars, None, (0.0, 1.0))
    body += table("Detection", ("arm", "marked", "d'", "bias", "texts judged"), cells)
    if page.records.detectors:
        by = [(page.arm(row.arm), row.name, with_bounds(row.auc), row.auc.n) for row in page.records.detectors]
        caption = "Automatic detectors: texts of the arm above posts by people"
        body += table(caption, ("arm", "by", "AUC", "texts"), by)
    return Section("detection", "Detection", told, body if cells else "", "counted votes that were not skipped")


def recognised(page: Page) -> Section:
    told = (
        "How often a simple classifier names the arm of a text whose topic it has not seen: near chance, no rater can "
        f"know arms by their style and vote for a favourite. It reads at most {MAX_TEXTS} texts of each. The interval "
        "draws topics. Of each two arms, how often it puts the right one first; one half is chance."
    )
    if HUMAN in page.codes:
        told += (
            " Posts by people are about what they please, not about the topic of the trial: each is a topic of its own "
            "here, and they may be known by what they are about as well as by their style."
        )
    lacks = "at least two arms with texts about several topics"
    texts, topics = _texts(page)
    if len(texts) < 2:
        return Section("recognisability", "Recognisability", told, "", lacks)
    try:
        found = recognisability(texts, topics, seed=page.seed)
    except ValueError:  # too few to learn from some and be asked about others
        return Section("recognisability", "Recognisability", told, "", lacks)
    bounds = percent(found.accuracy.value, found.accuracy.low, found.accuracy.high, found.accuracy.n)
    rows: list[tuple[Cell, ...]] = [("all arms at once", bounds, whole(found.chance), found.accuracy.n)]
    for (a, b), auc in found.pairs.items():
        n = len(texts[a]) + len(texts[b])
        rows.append(
            (f"{page.arm(a)} and {page.arm(b)}", whole(auc) if n >= MIN_VOTES else TOO_FEW, whole(0.5), n),
        )
    body = table("Arms told by their texts", ("which", "right", "chance", "texts"), rows)
    return Section("recognisability", "Recognisability", told, body)


def _texts(page: Page) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Texts that were judged, by arm and each once, and beside them their topics; of arms with two topics or more.

    A post by a person is not about the trial's topic: it is one of its own.
    """
    records = page.records
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for b in records.ballots:
        for arm, text in ((b.left, b.left_text), (b.right, b.right_text)):
            found[arm].setdefault(text, records.topics[b.trial])
    for mark in records.marks:
        found[mark.arm].setdefault(mark.text, records.topics[mark.trial])
    if HUMAN in found:
        found[HUMAN] = {text: f"post {n}" for n, text in enumerate(found[HUMAN])}
    rng = random.Random(page.seed)
    kept = {
        arm: rng.sample(list(texts.items()), min(len(texts), MAX_TEXTS))
        for arm, texts in sorted(found.items())
        if len(set(texts.values())) > 1
    }
    return {a: [text for text, _ in t] for a, t in kept.items()}, {
        a: [topic for _, topic in t] for a, t in kept.items()
    }
