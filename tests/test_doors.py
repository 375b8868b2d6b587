"""What is turned away before a handler sees it, and what is not."""

import pytest

from demo.doors import sayable


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": ["\\ud83d"]}', b'{"data": ["\\uDE00 \\uD83D"]}', b'{"data": ["\xed\xa0\xbd"]}', b"\xff\xfe{\0}\0",
        '{"data": ["\\ud83d"]}'.encode("utf-16-le"), b'{"\\udead": 1}', b"\xff",
    ],
)  # fmt: skip
def test_half_a_character_is_turned_away_however_it_is_said(body: bytes) -> None:
    assert not sayable(body)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"data": ["\\ud83d\\ude00"]}', '{"data": ["\U0001f600", "\ud55c"]}'.encode(), b'"\\ud55c"',
             b'"\\\\ud83d"', b"[" * 100_000 + b"\\ud"]
)  # fmt: skip
def test_whole_characters_and_what_is_no_json_go_on(body: bytes) -> None:
    assert sayable(body)
