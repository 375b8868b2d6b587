import json
import os
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors import table
from collectors.__main__ import main
from collectors.item import CollectError, Item, Signal, text_id
from collectors.table import MAX_LINE, Table

SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="jokes.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def signs(source):
    """Text -> what was shown about it."""
    return {item.text: signal.sign if signal else None for item, signal in source}


def skipped(source):
    """What the whole pass left out; a file with nothing to keep may say so."""
    with suppress(CollectError):
        list(source)
    report = source.report()
    assert report.found == report.kept + sum(report.skipped.values())
    assert all(report.skipped.values())
    return report.skipped


def peak_of(source):
    """The most bytes that reading it all held at once."""
    tracemalloc.start()
    try:
        for _ in source:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_item_and_its_signal_carry_what_the_row_says(write):
    source = Table(write("id,joke,liked,subreddit,date\n7,Knock knock.,1,jokes,2024-03-01 10:00:00 UTC\n"))
    at = datetime(2024, 3, 1, 10, tzinfo=UTC)
    item = Item("table", text_id("Knock knock."), "joke", "Knock knock.", "jokes", created_at=at)
    assert list(source) == [(item, Signal(item.id, 1, 1.0, at, origin="import:table"))]
    assert item.maker == "person"
    report = source.report()
    assert (report.found, report.kept, report.likes, report.oldest, report.newest) == (1, 1, 1, at, at)
    assert report.columns == {"text": "joke", "like": "liked", "community": "subreddit", "created": "date"}


def test_why_and_best_are_said_of_likes(write):
    rows = ("joke,liked,why,favourite", 'one,1,"so\ndry",yes', "two,1,,no", "three,0,too loud,yes", "four,,later,1")
    path = write("\n".join(rows))
    found = [signal and (signal.sign, signal.note, signal.picked) for _, signal in Table(path)]
    assert found == [(1, "so dry", True), (1, "", False), (-1, "too loud", False), None]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(write, delimiter):
    rows = ["Text", "Liked"], ['"a, b; c | d"', "yes"], ["plain", "no"]
    source = Table(write("\r\n".join(delimiter.join(row) for row in rows)))
    assert signs(source) == {"a, b; c | d": 1, "plain": -1}


@pytest.mark.parametrize("name", ["a.jsonl", "a.NDJSON", "a.json-lines", "a.txt"])
def test_json_lines(write, name):
    rows = [
        {"text": "a", "like": True},
        {"text": "b", "like": False},
        {"text": "c", "like": None},
        {"text": "d"},
    ]
    assert signs(Table(write("\n".join(map(json.dumps, rows)), name))) == {
        "a": 1,
        "b": -1,
        "c": None,
        "d": None,
    }


def test_json_columns_absent_from_the_first_row_are_found(write):
    source = Table(write('{"text": "a"}\n{"text": "b", "rating": 5}\n{"text": "c", "rating": 1}\n'))
    assert signs(source) == {"a": None, "b": 1, "c": -1}


def test_nested_json_values_are_no_text_and_no_reaction(write):
    source = Table(write('{"text": ["a"]}\n{"text": "b", "like": {"by": "me"}}\n'))
    assert signs(source) == {"b": None}
    assert skipped(source) == {"empty text": 1}


def test_quoted_line_breaks_stay_and_are_one_row(write):
    source = Table(write('text,like\n"setup\r\n\r\n""punchline""",1\nnext,0\n'))
    assert signs(source) == {'setup\n\n"punchline"': 1, "next": -1}
    assert source.report().found == 2


def test_columns_are_named_or_found_whatever_their_case(write):
    path = write(" Body ,TITLE,Mine,Crowd\nlong,short,1,0\n")
    assert signs(Table(path)) == {"long": None}
    assert signs(Table(path, text="title", like="crowd")) == {"short": -1}
    assert signs(Table(path, text="TITLE", dislike="Mine")) == {"short": -1}


def test_of_columns_that_differ_in_case_only_the_first_or_the_exact_one_is_read(write):
    path = write("Text,TEXT,like\na,b,1\n")
    assert signs(Table(path)) == {"a": 1}
    assert signs(Table(path, text="TEXT")) == {"b": 1}


def test_an_empty_name_leaves_a_role_out(write):
    path = write("text,label\na,pun\nb,satire\n")
    assert signs(Table(path, like="")) == {"a": None, "b": None}
    with pytest.raises(CollectError, match="reaction not understood"):
        list(Table(path))


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("1 1.0 TRUE yes Y up like Liked +1 upvoted", 1),
        ("0 0.0 False no N down dislike disliked -1 downvote", -1),
        ("none null Removed NaN skip", None),
    ],
)
def test_words_for_a_reaction(write, words, sign):
    rows = "".join(f"text {n},{word}\n" for n, word in enumerate([*words.split(), *([""] if sign is None else [])]))
    found = signs(Table(write("text,direction\n" + rows)))
    assert set(found.values()) == {sign}
    assert len(found) == rows.count("\n")


def test_other_words_are_counted_not_guessed(write):
    source = Table(write("text,like\na,maybe\nb,1\n"))
    assert signs(source) == {"b": 1}
    assert skipped(source) == {"reaction not understood": 1}


def test_beside_a_dislike_column_not_liked_is_not_disliked(write):
    rows = "both no,0,0\nliked,1,0\ndisliked,0,1\nboth,1,1\nempty,,\nexplicit,down,\nfloat,0.0,1.0\n"
    source = Table(write("text,liked,disliked\n" + rows))
    expected = {"both no": None, "liked": 1, "disliked": -1, "empty": None, "explicit": -1, "float": -1}
    assert signs(source) == expected
    assert skipped(source) == {"reaction not understood": 1}


@pytest.mark.parametrize(
    ("ratings", "shown"),
    [
        ([5, 1, 3], [(1, 1.0), (-1, 1.0), (0, 0.0)]),  # 1 to 5
        ([3.2, 2.8, 3.3, 2], [(0, 0.1), (0, 0.1), (1, 0.15), (-1, 0.5)]),  # 1 to 5: a tenth is still neutral
        ([0, 5], [(-1, 1.0), (1, 1.0)]),  # 0 to 5
        ([8, 2], [(1, 2.5 / 4.5), (-1, 3.5 / 4.5)]),  # 1 to 10
        ([0, 9], [(-1, 1.0), (1, 0.8)]),  # 0 to 10
        ([-10, 9, 0.9], [(-1, 1.0), (1, 0.9), (0, 0.09)]),  # -10 to 10
        ([0.9, 0.5], [(1, 0.8), (0, 0.0)]),  # 0 to 1
        ([-1, 1], [(-1, 1.0), (1, 1.0)]),  # -1 to 1
        ([40, 90], [(-1, 0.2), (1, 0.8)]),  # 0 to 100
        ([200, 400, 300], [(-1, 1.0), (1, 1.0), (0, 0.0)]),  # no usual scale: lowest to highest
        ([700, 700], [(0, 0.0), (0, 0.0)]),  # nothing to tell apart
        ([-1e308, 1e308], [(-1, 1.0), (1, 1.0)]),  # neither the half range may overflow
        ([1e308, 1.7e308], [(-1, 1.0), (1, 1.0)]),  # nor the middle
    ],
)
def test_ratings_are_read_on_the_narrowest_scale_that_holds_them(write, ratings, shown):
    source = Table(write("text,rating\n" + "".join(f"t{n},{rating}\n" for n, rating in enumerate(ratings))))
    found = [(signal.sign, signal.strength) for _, signal in source if signal]
    assert [sign for sign, _ in found] == [sign for sign, _ in shown]
    assert [strength for _, strength in found] == pytest.approx([strength for _, strength in shown])


def test_a_given_scale_wins_and_bounds(write):
    source = Table(write("text,rating\na,4\nb,99\nc,abc\nd,inf\ne,\nf,NaN\n"), scale=(-10, 10))
    assert signs(source) == {"a": 1, "e": None, "f": None}
    assert skipped(source) == {"rating outside the scale": 1, "rating is not a number": 2}
    assert source.report().unrated == 2


@pytest.mark.parametrize("scale", [(5, 1), (1, 1), (float("nan"), 5), (0, float("inf"))])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(CollectError, match="LOW:HIGH"):
        Table("any.csv", scale=scale)


def test_like_wins_over_rating_where_it_is_set(write):
    assert signs(Table(write("text,like,rating\na,0,5\nb,,5\nc,1,abc\nd,,1\n"))) == {
        "a": -1,
        "b": 1,
        "c": 1,
        "d": -1,
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-03-01", (2024, 3, 1)),
        ("20240301", (2024, 3, 1)),
        ("2024-03-01T12:00:00Z", (2024, 3, 1, 12)),
        ("2024-03-01T12:00:00+02:00", (2024, 3, 1, 10)),
        ("2024-03-01 12:00:00 UTC", (2024, 3, 1, 12)),
        ("2024-03-01 12:00:00", (2024, 3, 1, 12)),
        ("1709294400", (2024, 3, 1, 12)),
        ("1709294400.0", (2024, 3, 1, 12)),
        ("yesterday", None),
        ("99999999999999999999", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("", None),
    ],
)
def test_dates(write, written, read):
    [(item, signal)] = Table(write(f"text,like,created_utc\na,1,{written}\n"))
    assert item.created_at == signal.at == (read and datetime(*read, tzinfo=UTC))


LONG = b"x" * MAX_LINE


@pytest.mark.parametrize(
    ("rows", "kept", "reasons"),
    [
        (b"a,1\n" + LONG + b",1\nb,1\n", 2, {"line longer than 256 kB": 1}),
        (b"a,1\n" + LONG * 3, 1, {"line longer than 256 kB": 1}),
        (b"a,1\nb\0,1\nc,1\n", 2, {"NUL byte": 1}),
        (b"a,1\n\xff\xfe,1\nc,1\n", 2, {"not UTF-8": 1}),
        (b'a,1\n"b\n\xff\nc",1\nd,1\n', 2, {"not UTF-8": 1}),  # one row of three lines
        ("a,1\n\ufffd,1\n".encode(), 2, {}),  # a replacement character that was in the file
        (b"a,1\nb,1,2\nc\nd,1\n", 2, {"wrong number of columns": 2}),
        (b'a,1\n"b,1\nc,1\n', 1, {"unclosed quote": 2}),
        (b'a,1\n"b,1\n"c",1\nd,1\n', 2, {"unclosed quote": 2}),  # the next quote shows where it went wrong
        (b'a,1\n"b" and "c",1\nd,1\n', 2, {"unclosed quote": 1}),
        (b'a,1\n"b\nc\n' + LONG + b'x\nd,1\n"', 2, {"unclosed quote": 3, "line longer than 256 kB": 1}),
        (b"a,1\n,1\n  ,1\n\xe2\x80\xae,1\n", 1, {"empty text": 3}),
        (b"a,1\nb,0\na ,0\n a,1\n", 2, {"duplicate": 2}),
        (b"\n  \na,1\n\n\r\nb,1\n\n", 2, {}),
        (b"a\rb,1\n", 1, {}),
    ],
)
def test_rows_that_cannot_be_used_are_counted_by_reason(write, rows, kept, reasons):
    source = Table(write(b"text,like\n" + rows))
    assert skipped(source) == reasons
    assert source.report().kept == kept


@pytest.mark.parametrize("line", [b"{", b"[1]", b'"text"', b"1", b"null", b"[" * 100_000, b"9" * 5000])
def test_broken_json_is_counted(write, line):
    source = Table(write(b'{"text": "a"}\n' + line + b'\n\n{"text": "b\\ud800"}\n'))
    assert signs(source) == {"a": None, "b": None}
    assert skipped(source) == {"broken JSON": 1}


def test_flawed_json_lines_are_counted(write):
    source = Table(write(b'{"text": "a"}\n{"text": "\xff"}\n{"text": "\0"}\n{"text": "' + LONG + b'"}\n'))
    assert skipped(source) == {"not UTF-8": 1, "NUL byte": 1, "line longer than 256 kB": 1}


def test_an_unclosed_quote_ends_somewhere_and_reading_goes_on(write):
    rows = "".join(f"joke number {n:06},1\n" for n in range(50_000))
    source = Table(write('text,like\nfirst,1\n"never closed,1\n' + rows))
    assert skipped(source).keys() == {"unclosed quote"}
    report = source.report()
    assert report.found == 50_002
    assert 20_000 < report.kept < 50_000


def test_quotes_that_open_again_on_every_line_are_bounded_too(write):
    source = Table(write('text,like\na,1\n"x\n' + 'y","z\n' * 150_000 + '"\n'))
    assert skipped(source)["unclosed quote"] > 80_000
    assert source.report().kept == 1


def test_a_field_longer_than_the_csv_module_allows_by_itself(write):
    [(item, _)] = Table(write('text\n"' + "x" * 200_000 + '"\n'))
    assert item.text == "x" * 20_000


def test_over_the_limit(write, monkeypatch):
    monkeypatch.setattr(table, "MAX_ITEMS", 2)
    source = Table(write("text\na\na\nb\nc\na\n"))
    assert signs(source) == {"a": None, "b": None}
    assert skipped(source) == {"duplicate": 1, "over the limit of 2 items": 2}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xef\xbb\xbf\n\n", "empty"),
        ("a.csv", b"text,like\n", "no row below"),
        ("a.jsonl", b"\n", "empty"),
        ("a.csv", b"who,when\nme,now\n", "who, when.*--column text=NAME"),
        ("a.jsonl", b'{"who": 1}\n{"when": 2}', "who, when.*--column text=NAME"),
        ("a.csv", "text\na\n".encode("utf-16"), "save it as UTF-8"),
        ("a.xlsx", b"PK\x03\x04\0\0\xff\n\0\n", "NUL byte.*save it as CSV"),
        ("a.csv", b'"text,like\na,1\n', "unclosed quote.*save it as CSV"),
        ("a.csv", b"text,like\na\nb\nc,?\n", "2 of its 3 rows.*wrong number of columns"),
        ("a.csv", b"text,like\na\nb\n", "2 of its 2 rows.*wrong number of columns"),
        ("a.jsonl", b"nonsense\n", "1 of its 1 rows.*broken JSON"),
    ],
)
def test_a_file_that_holds_nothing_says_what_to_do(write, name, content, says):
    path = write(content, name)
    with pytest.raises(CollectError, match=says) as caught:
        list(Table(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened_say_so(tmp_path, write, monkeypatch):
    with pytest.raises(CollectError, match=r"gone.csv.*No such file"):
        list(Table(tmp_path / "gone.csv"))
    with pytest.raises(CollectError, match="folder"):
        list(Table(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CollectError, match="device"):  # and does not wait for a writer
        list(Table(tmp_path / "pipe"))
    path = write("text\na\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CollectError, match=r"jokes.csv.*Permission denied"):
        list(Table(path))


@pytest.mark.parametrize("role", ["text", "like", "dislike", "rating", "community", "created"])
def test_a_named_column_must_exist(write, role):
    with pytest.raises(CollectError, match=f"no column 'mine' for the {role}: name one of text, x"):
        list(Table(write("text,x\na,1\n"), **{role: "mine"}))


def test_outside_text_is_made_safe_but_stays_itself(write):
    text = "<script>alert('x')</script> \u202eevil\u2066\ue000 {{ 7*7 }} \x1b[31m"
    [(item, _)] = Table(write(json.dumps({"text": text, "channel": "a\u202eb"}), "a.jsonl"))
    assert item.text == "<script>alert('x')</script> evil {{ 7*7 }} [31m"
    assert item.community == "ab"


def test_byte_order_mark_is_no_part_of_the_first_column(write):
    assert signs(Table(write("\ufefftext,like\na,1\n"))) == {"a": 1}
    assert signs(Table(write('\ufeff{"text": "a", "like": 1}\n', "a.txt"))) == {"a": 1}


def test_the_same_text_is_the_same_item_in_any_file(write):
    [(one, _)] = Table(write("id,text\n1,Same  joke\n"))
    [(two, _)] = Table(write('{"joke": "Same joke "}', "b.jsonl"))
    assert one.id == two.id == "table:" + text_id("Same joke")


def test_a_second_pass_gives_the_same_and_the_report_speaks_of_the_last(write):
    source = Table(write("text,rating\na,1\nb,5\n,3\n"))
    assert source.report().found == 0
    first = list(source)
    report = source.report()
    assert next(iter(source))
    assert source.report().kept == 1
    assert list(source) == first
    assert source.report() == report


# Bytes made of the characters that matter to the reader, so that quotes, flaws and rows do meet.
PIECES = st.sampled_from([b"a", b"1", b"99", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"{}", b"\t"])


@SETTINGS
@given(body=st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=80).map(b"".join)), head=st.booleans())
@pytest.mark.parametrize("start", [b"text,rating\n", b'{"text": "a", "like": 1}\n'])
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path, start, body, head):
    path = tmp_path / "any"
    path.write_bytes(start * head + body)
    skipped(Table(path))


@SETTINGS
@given(body=st.lists(PIECES, max_size=80).map(b"".join))
def test_no_line_is_lost_where_lines_are_rows(tmp_path, body):
    path = tmp_path / "any.csv"
    lines = body.replace(b'"', b"").replace(b"\r", b"").split(b"\n")
    path.write_bytes(b"text,like\n" + b"\n".join(lines))
    source = Table(path)
    skipped(source)
    assert source.report().found == sum(line.strip() != b"" for line in lines)


def test_a_large_file_takes_little_memory_and_time(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.write(b"text,rating,junk\nfirst,5,\n")
        file.seek(300_000_000, 1)  # a hole: one line of 300 MB
        file.write(b"\n")
        for n in range(8_000):
            file.write(b"joke %d,%d,%s\n" % (n, n % 5 + 1, LONG[:1000]))
    source = Table(path)
    began = time.process_time()  # whatever else the machine does
    list(source)
    assert time.process_time() - began < 5
    assert source.report().kept == 8_001
    assert source.report().skipped == {"line longer than 256 kB": 1}
    assert peak_of(source) < 64_000_000


def test_memory_grows_with_the_kept_items_only_and_slowly(write, monkeypatch):
    monkeypatch.setattr(table, "MAX_ITEMS", 10_000)
    source = Table(write("text\n" + "".join(f"{n}\n" for n in range(30_000))))
    assert peak_of(source) < 3_200_000  # a twentieth of 64 MB for a twentieth of the real limit
    assert source.report().skipped == {"over the limit of 10,000 items": 20_000}


def test_preview_prints_the_report(write, capsys):
    path = write("words,points\na,10\nb,-10\nc,?\n")
    assert main(["preview", str(path), "--column", "text=words", "--column", "rating=points", "--scale=-10:10"]) == 0
    out = capsys.readouterr().out
    assert "3 rows found, 2 kept" in out
    assert "skipped 1: rating is not a number" in out
    assert main(["preview", str(path), "--column", "text=words", "--column", "rating=points", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["dislikes"] == 1
    assert out.count("\n") == 1


def test_preview_refuses_in_one_sentence(write):
    run = subprocess.run(
        [sys.executable, "-m", "collectors", "preview", write("a,b\n1,2\n")], capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.count("\n") == 1
    assert "--column text=NAME" in run.stderr


def test_preview_wants_a_scale_of_two_numbers(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["preview", "any.csv", "--scale", "five"])
    assert caught.value.code == 2
    assert "not LOW:HIGH" in capsys.readouterr().err
