import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors import item as module
from collectors.__main__ import main
from collectors.item import CollectError, Item, Signal, clean_text, read_reactions, write_reactions

AT = datetime(2024, 3, 1, 10, tzinfo=UTC)
A = Item("reddit", "a", "joke", "One.\u2028Two.", "puns", "f00", "model", AT, "https://example.org/a")
B = Item("table", "b", "post", "Three.")
ROW = {"user": "ann", "item": {"source": "s", "source_id": "1", "kind": "joke", "text": "A."}, "signal": None}
ITEM = ROW["item"]
LIKE = {"sign": 1, "strength": 0.5, "at": None, "origin": "", "note": ""}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "people.jsonl"


def written(path, *rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_written_is_read_person_by_person(path):
    people = [
        ("ann", [(A, Signal(A.id, -1, 0.25, AT, "reddit", "too long", picked=True)), (B, None)]),
        ("bob", [(B, Signal(B.id, 1))]),
    ]
    assert write_reactions(path, people) == 3
    cleaned = Item(**{**{f: getattr(A, f) for f in A.__slots__}, "text": "One. Two."})
    assert list(read_reactions(path)) == [("ann", [(cleaned, people[0][1][0][1]), (B, None)]), people[1]]
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["user"] for row in rows] == ["ann", "ann", "bob"]
    assert rows[0]["signal"] == {
        "sign": -1,
        "strength": 0.25,
        "at": AT.isoformat(),
        "origin": "reddit",
        "note": "too long",
        "picked": True,
    }
    assert set(rows[0]["item"]) == set(A.__slots__)  # all its fields and no derived id
    assert rows[1]["signal"] is None


WORDS = st.text(max_size=30).map(clean_text)
NAMES = st.text(min_size=1, max_size=10).map(clean_text).map(lambda name: name.replace("\n", "") or "x")
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
ITEMS = st.builds(
    Item, NAMES, NAMES, st.sampled_from(["joke", "post"]), WORDS.map(lambda text: text or "x"), WORDS, WORDS,
    st.sampled_from(["person", "project", "model"]), TIMES, WORDS,
)  # fmt: skip
SHOWN = st.none() | st.tuples(st.sampled_from([-1, 0, 1]), st.floats(0, 1), TIMES, WORDS, WORDS)
PEOPLE = st.dictionaries(NAMES, st.lists(st.tuples(ITEMS, SHOWN), min_size=1, max_size=4), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(people=PEOPLE)
def test_any_clean_reactions_come_back_as_they_were(path, people):
    rows = [(user, [(i, s and Signal(i.id, *s)) for i, s in reactions]) for user, reactions in people.items()]
    write_reactions(path, rows)
    assert list(read_reactions(path)) == rows


def test_outside_text_is_cleaned_on_the_way_in(path):
    dirty = {**ITEM, "text": "a\u202eb\ue000 \x00c", "community": "x\u2066"}
    [(user, [(item, signal)])] = read_reactions(
        written(path, {**ROW, "user": "a\u200fnn", "item": dirty, "signal": {**LIKE, "note": "\ue000why"}})
    )
    assert (user, item.text, item.community, signal.note) == ("ann", "ab c", "x", "why")
    assert signal.item_id == item.id == "s:1"


def test_what_may_be_left_out_and_times_without_a_zone(path):
    [(_, [(item, signal)])] = read_reactions(
        written(path, {**ROW, "item": {**ITEM, "created_at": "2024-03-01T10:00:00"}, "signal": {"sign": 0}}, "\n\n")
    )
    assert (item.maker, item.created_at, signal) == ("person", AT, Signal("s:1", 0))
    [(_, [(_, later)])] = read_reactions(written(path, {**ROW, "signal": {**LIKE, "at": "2024-03-01T12:00:00+02:00"}}))
    assert later.at == AT


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "null",
        '"user"',
        "9" * 5000,
        "[" * 100_000,
        {"item": ITEM, "signal": None},
        {"user": "ann", "item": ITEM},
        {**ROW, "user": ""},
        {**ROW, "user": 7},
        {**ROW, "item": None},
        {**ROW, "item": [1]},
        {**ROW, "item": {**ITEM, "text": "\u202e"}},
        {**ROW, "item": {**ITEM, "text": None}},
        {**ROW, "item": {**ITEM, "source_id": ""}},
        {**ROW, "item": {**ITEM, "kind": "poem"}},
        {**ROW, "item": {**ITEM, "maker": "robot"}},
        {**ROW, "item": {**ITEM, "id": "s:1"}},
        {**ROW, "item": {**ITEM, "created_at": "yesterday"}},
        {**ROW, "item": {**ITEM, "created_at": "0001-01-01T00:00:00+05:00"}},
        {**ROW, "item": {"source": "s", "source_id": "1", "kind": "joke"}},
        {**ROW, "signal": []},
        {**ROW, "signal": {"strength": 1.0}},
        {**ROW, "signal": {**LIKE, "item_id": "s:2"}},
        {**ROW, "signal": {**LIKE, "sign": 2}},
        {**ROW, "signal": {**LIKE, "sign": True}},
        {**ROW, "signal": {**LIKE, "sign": 1.0}},
        {**ROW, "signal": {**LIKE, "sign": [1]}},
        {**ROW, "signal": {**LIKE, "strength": 1.5}},
        {**ROW, "signal": {**LIKE, "strength": float("nan")}},
        {**ROW, "signal": {**LIKE, "strength": "1"}},
        {**ROW, "signal": {**LIKE, "strength": True}},
        {**ROW, "signal": {**LIKE, "at": 5}},
        {**ROW, "signal": {**LIKE, "note": 5}},
    ],
)
def test_a_broken_line_refuses_the_file_by_number(path, line):
    written(path, ROW, line if not isinstance(line, str) else line + "\n", ROW)
    with pytest.raises(
        CollectError, match=r"^Line 2 of .*people.jsonl is not a reaction .*: write the file again"
    ) as caught:
        list(read_reactions(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_person_stands_in_one_place(path):
    written(path, ROW, {**ROW, "user": "bob"}, ROW)
    with pytest.raises(CollectError, match=r"Line 3 .*further up"):
        list(read_reactions(path))
    with pytest.raises(ValueError, match="'ann' do not stand together"):
        write_reactions(path, [("ann", [(B, None)]), ("bob", []), ("ann", [(B, None)])])


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_says_so(path, content):
    path.write_bytes(content)
    with pytest.raises(CollectError, match=r"people.jsonl is empty: write it again"):
        list(read_reactions(path))


def test_files_that_cannot_be_read_or_written_say_so(path, tmp_path):
    with pytest.raises(CollectError, match="No such file"):
        list(read_reactions(path))
    with pytest.raises(CollectError, match="directory"):
        list(read_reactions(tmp_path))
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(CollectError, match="Line 1"):
        list(read_reactions(path))
    with pytest.raises(CollectError, match=r"Cannot write .*No such file"):
        write_reactions(tmp_path / "gone" / "a.jsonl", [("ann", [(B, None)])])


def test_a_line_without_end_is_not_read_whole(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE", 1000)
    written(path, ROW, "x" * 1001)
    with pytest.raises(CollectError, match=r"Line 2 .*longer than"):
        list(read_reactions(path))


@pytest.mark.parametrize("user", ["", "a\nb", "a\u202e", " a"])
def test_a_name_that_would_not_come_back_is_refused(path, user):
    with pytest.raises(CollectError, match="is no name for a user"):
        write_reactions(path, [(user, [(B, None)])])


def test_a_signal_about_another_item_is_refused(path):
    with pytest.raises(ValueError, match="'reddit:a' stands beside 'table:b'"):
        write_reactions(path, [("ann", [(B, Signal(A.id, 1))])])


def test_what_fails_half_way_leaves_the_old_file_and_no_other(path):
    write_reactions(path, [("old", [(B, None)])])

    def half():
        yield "ann", [(B, None)]
        raise CollectError("stop")

    with pytest.raises(CollectError, match="stop"):
        write_reactions(path, half())
    assert [user for user, _ in read_reactions(path)] == ["old"]
    assert list(path.parent.iterdir()) == [path]


def test_one_person_at_a_time(path):
    item = Item("s", "1", "joke", "x" * 5_000)
    write_reactions(path, ((f"user {n}", [(item, None)] * 4) for n in range(100)))  # 2 MB
    tracemalloc.start()
    try:
        assert sum(len(reactions) for _, reactions in read_reactions(path)) == 400
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_convert_writes_what_preview_shows(tmp_path, path, capsys):
    table = tmp_path / "jokes.csv"
    table.write_text("words,points\na,10\nb,-10\nc,\nd,?\n")
    flags = [str(table), "--column", "text=words", "--column", "rating=points", "--scale=-10:10"]
    assert main(["preview", *flags]) == 0
    preview = capsys.readouterr().out
    assert main(["convert", *flags, str(path), "--user", "ann"]) == 0
    assert capsys.readouterr().out == preview
    [(user, reactions)] = read_reactions(path)
    assert (user, [(item.text, signal and signal.sign) for item, signal in reactions]) == (
        "ann",
        [("a", 1), ("b", -1), ("c", None)],
    )
    assert reactions[0][1].origin == "import:table"


def test_convert_takes_the_sample_too(path, capsys):
    assert main(["convert", "sample", str(path), "--json"]) == 0
    [(user, reactions)] = read_reactions(path)
    assert (user, len(reactions)) == ("me", json.loads(capsys.readouterr().out)["kept"])


def test_convert_refuses_in_one_sentence_and_leaves_nothing(tmp_path, path, capsys):
    table = tmp_path / "jokes.jsonl"
    table.write_text('{"text": "a", "like": 1}\n')
    for name, out, says in [(table, table, "is the file to be read"), (tmp_path / "gone", path, "No such file")]:
        assert main(["convert", str(name), str(out)]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert table.read_text() == '{"text": "a", "like": 1}\n'
    assert list(tmp_path.iterdir()) == [table]
