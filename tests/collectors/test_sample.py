import json

import pytest

from collectors.__main__ import main
from collectors.item import CollectError
from collectors.sample import SAMPLE, Sample

ROW = {"source_id": "pun-01", "kind": "joke", "community": "puns", "text": "A joke."}


def test_every_line_of_the_sample_is_one_item_of_the_project():
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    source = Sample()
    pairs = list(source)
    # Equal texts also show that cleaning leaves the sample as it was written.
    read = [(item.source_id, item.kind, item.community, item.text) for item, _ in pairs]
    assert read == [(row["source_id"], row["kind"], row["community"], row["text"]) for row in rows]
    assert {(item.source, item.maker, signal) for item, signal in pairs} == {("sample", "project", None)}
    assert {item.kind for item, _ in pairs} <= {"joke", "post"}
    assert len({item.id for item, _ in pairs}) == len({item.text for item, _ in pairs}) == len(rows)
    report = source.report()
    assert (report.found, report.kept, report.unrated, report.skipped) == (
        len(rows),
        len(rows),
        len(rows),
        {},
    )
    assert list(source) == pairs
    assert source.report() == report


def test_a_line_separator_inside_a_text_is_no_end_of_line(tmp_path):
    path = tmp_path / "sample.jsonl"
    path.write_text(json.dumps({**ROW, "text": "one\u2028two"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [item.text for item, _ in Sample(path)] == ["one two"]


@pytest.mark.parametrize("line", ["{", "[]", '{"text": "a"}', json.dumps({**ROW, "text": None})])
def test_a_damaged_sample_names_its_line(tmp_path, line):
    path = tmp_path / "sample.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(CollectError, match=r"Line 2 of .*install it again"):
        list(Sample(path))


def test_a_missing_sample_says_what_to_do(tmp_path):
    with pytest.raises(CollectError, match="install it again"):
        list(Sample(tmp_path / "gone.jsonl"))


def test_preview_of_the_sample(capsys):
    assert main(["preview", "sample", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["source"], report["likes"], report["skipped"]) == ("sample", 0, {})
    assert report["found"] == report["kept"] == report["unrated"] > 0
