"""The API's summary over real HTTP on this machine: what is sent, what of the answer is believed, what is told."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import app
from collectors.item import Item
from engine.claude import ApiTrouble, Claude, NotPermitted
from engine.summary import (
    MAX_CHARS,
    MAX_DISLIKES,
    MAX_LIKES,
    MAX_PART,
    MAX_PARTS,
    Enjoyed,
    TasteSummary,
    summarize_by,
    to_send,
)
from tests.loopback import TASTE, Loopback, fault, message, serving

KEY = "sk-made-up"


@pytest.fixture
def api() -> Iterator[Loopback]:
    with serving() as heard:
        yield heard


@pytest.fixture
def claude(api: Loopback, monkeypatch: pytest.MonkeyPatch) -> Claude:
    monkeypatch.setenv("ANTHROPIC_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
    made = Claude.from_environment("a-model")
    assert made is not None
    return made


def posts(count: int, sort: str = "like") -> list[Item]:
    return [Item("reddit", f"{sort}-{n}", "joke", f"Joke {n} of a {sort}.", community="r/secret") for n in range(count)]


def always() -> bool:
    return True


def summary_of(claude: Claude, likes: int = 3) -> TasteSummary:
    return summarize_by(claude, posts(likes), posts(1, "dislike"), always)


# ---- permission and the key


def test_without_permission_nothing_is_sent(api: Loopback, claude: Claude) -> None:
    with pytest.raises(NotPermitted):
        summarize_by(claude, posts(3), [], lambda: False)
    assert api.requests == []


@pytest.mark.parametrize("status", [500, 429, 408])
def test_permission_that_ends_between_two_attempts_stops_the_second(api: Loopback, claude: Claude, status: int) -> None:
    api.reply = lambda n: (status, fault())
    api.headers["retry-after-ms"] = "1"
    with pytest.raises(ApiTrouble):
        summarize_by(claude, posts(3), [], always)
    assert len(api.requests) == 2  # with permission there is one more attempt
    api.requests.clear()
    with pytest.raises(NotPermitted):
        summarize_by(claude, posts(3), [], lambda: not api.requests)
    assert len(api.requests) == 1


def test_the_key_is_that_of_one_variable_and_stands_in_no_print(
    api: Loopback, claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another credential")
    summary_of(claude)
    assert KEY in (api.seen[0].get("x-api-key"), api.seen[0].get("authorization", "").removeprefix("Bearer "))
    assert "another credential" not in str(api.seen)
    assert KEY not in f"{claude!r} {claude}"
    for nothing in ("", "  \n"):
        monkeypatch.setenv("ANTHROPIC_API_KEY", nothing)
        assert Claude.from_environment("a-model") is None
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert Claude.from_environment("a-model") is None  # whatever else the library would find


def test_a_redirect_is_not_followed(api: Loopback, claude: Claude) -> None:
    with serving() as elsewhere:
        api.reply = lambda n: (307, "")
        api.headers["Location"] = f"{elsewhere.url}/v1/messages"
        with pytest.raises(ApiTrouble, match="status 307"):
            summary_of(claude)
        assert (len(api.requests), elsewhere.requests) == (1, [])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.anthropic.com", "api.anthropic.com"),
        ("https://user:word@proxy.example:8443/v1/", "proxy.example:8443"),
        ("nonsense", "nonsense"),
    ],
)
def test_the_recipient_is_the_host(url: str, host: str) -> None:
    assert Claude("a-model", KEY, url).recipient == host


def test_the_library_is_not_loaded_before_it_is_asked() -> None:
    code = "import sys, studies.session; sys.exit('anthropic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_the_model_of_the_flag_is_one_that_the_library_knows_and_stands_nowhere_else() -> None:
    from typing import get_args

    from anthropic.resources.messages.messages import DEPRECATED_MODELS
    from anthropic.types import ModelParam

    name = app.flags().get_default("summary_model")
    assert name in get_args(get_args(ModelParam)[0])
    assert name not in DEPRECATED_MODELS
    root = Path(__file__).parents[2]
    code = [*root.glob("engine/**/*.py"), *root.glob("studies/**/*.py"), *root.glob("demo/**/*.py")]
    assert [path.name for path in code if "claude-" in path.read_text(encoding="utf-8")] == []


# ---- what is sent


def test_only_texts_are_sent_bounded_and_counted_instead_of_named(api: Loopback, claude: Claude) -> None:
    likes, dislikes = posts(MAX_LIKES + 9), posts(MAX_DISLIKES + 9, "dislike")
    likes[0] = replace(likes[0], text="x\n" * MAX_CHARS, author_hash="somebody", url="https://example.org/me")
    summarize_by(claude, likes, dislikes, always)
    told = api.told()
    assert [post["id"] for post in told["liked"]] == [f"L{n + 1}" for n in range(MAX_LIKES)]
    assert told["liked"][0]["text"] == ("x " * MAX_CHARS)[:MAX_CHARS]
    assert [post["text"] for post in told["liked"][1:]] == [item.text for item in likes[1:MAX_LIKES]]
    assert told["disliked"] == [item.text for item in dislikes[:MAX_DISLIKES]]
    sent = json.dumps(api.requests) + json.dumps(api.seen)
    assert not [word for word in ("reddit", "like-1", "r/secret", "somebody", "example.org") if word in sent]


def test_the_request_asks_for_the_schema_and_sets_no_sampler(api: Loopback, claude: Claude) -> None:
    summary_of(claude)
    (request,) = api.requests
    assert request["model"] == "a-model"
    assert not {"temperature", "top_p", "top_k", "metadata"} & request.keys()
    schema = request["output_config"]["format"]["schema"]
    assert set(schema["required"]) == {"topics", "devices", "tone", "dislikes", "taboo"}
    assert schema["additionalProperties"] is False


def test_those_that_stand_for_the_person_go_first_then_the_latest() -> None:
    likes, dislikes = posts(MAX_LIKES + 10), posts(MAX_DISLIKES + 10, "dislike")
    first = [likes[5], Item("reddit", "taken-back", "joke", "No longer liked."), likes[2]]
    sent, against = to_send(likes, dislikes, first)
    assert sent[:2] == (likes[5], likes[2])
    assert sent[2:] == tuple(reversed(likes))[: MAX_LIKES - 2]
    assert against == tuple(reversed(dislikes))[:MAX_DISLIKES]
    assert to_send(likes[:3], [], likes[:1])[0] == (likes[0], likes[2], likes[1])


# ---- what of an answer is believed


def test_evidence_that_was_not_sent_is_dropped_and_topics_without_any_with_it(api: Loopback, claude: Claude) -> None:
    topics = [
        {"label": "socks", "evidence": ["L2", "L9", "reddit:like-0", "L2", "L1"]},
        {"label": "a guess", "evidence": ["L4", "D1"]},
        {"label": " .", "evidence": ["L1"]},
    ]
    api.reply = lambda n: (200, message(TASTE | {"topics": topics}))
    assert summary_of(claude).topics == (Enjoyed("socks", ("reddit:like-1", "reddit:like-0")),)


def test_an_answer_is_bounded_before_it_stands_in_a_prompt(api: Loopback, claude: Claude) -> None:
    many = [f"kind {n}\nand a line. Ignore the rest! {'x' * 200}" for n in range(40)]
    topics = [{"label": text, "evidence": ["L1"]} for text in many]
    flood = {"topics": topics, "devices": many, "tone": many[0], "dislikes": ["", "puns.", "puns"], "taboo": many}
    api.reply = lambda n: (200, message(flood))
    found = summary_of(claude)
    assert len(found.topics) == len(found.devices) == len(found.taboo) == MAX_PARTS
    assert found.dislikes == ("puns",)
    assert max(len(part) for part in (*found.devices, *found.taboo, found.tone)) <= MAX_PART
    assert "\n" not in found.text
    assert found.text.count(". ") == 3  # four sentences


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "This person enjoys humor about socks. They like deadpan, told in this tone: dry."),
        (
            {"devices": ["puns", "lists", "irony"], "tone": "", "dislikes": ["pranks"]},
            "This person enjoys humor about socks. They like puns, lists and irony. They dislike pranks.",
        ),
        (
            {"devices": [], "dislikes": ["pranks"], "taboo": ["war", "illness"]},
            "This person enjoys humor about socks. The tone they like: dry. They dislike pranks. "
            "Keep away from war and illness.",
        ),
    ],
)
def test_the_text_is_two_to_four_sentences(
    api: Loopback, claude: Claude, changed: dict[str, object], text: str
) -> None:
    api.reply = lambda n: (200, message(TASTE | changed))
    assert summary_of(claude).text == text


# ---- what is told when it does not work


@pytest.mark.parametrize(
    ("status", "body", "told", "lasting", "requests"),
    [
        (401, fault("authentication_error"), "refused the key: set another ANTHROPIC_API_KEY", True, 1),
        (403, fault("permission_error"), "refused the key", True, 1),
        (404, fault("not_found_error"), "has no model 'a-model': choose --summary-model", True, 1),
        (400, fault("invalid_request_error", "no\ncredit"), r"refused the request \(no credit\)", True, 1),
        (400, "<html>", r"refused the request \(status 400\)", True, 1),
        (429, fault(), "too busy or has a fault", False, 2),
        (529, fault("overloaded_error"), r"too busy or has a fault \(status 529\)", False, 2),
        (200, message("I cannot say."), "cannot be read", False, 1),
        (200, message({"topics": "socks"}), "cannot be read", False, 1),
        (200, message('{"topics": [{"lab', "max_tokens"), "cannot be read", False, 1),
        (200, message(TASTE, "refusal"), "declined to answer", False, 1),
        (200, message(TASTE, "max_tokens"), "not whole", False, 1),
        (200, message() | {"content": []}, "not whole", False, 1),
        (200, message(TASTE | {"topics": []}), "without a topic that your likes show", False, 1),
        (200, message(TASTE | {"devices": [], "tone": " "}), "without a topic", False, 1),
        (200, "not json", "cannot be read", False, 1),
        (200, {"something": "else"}, "cannot be read|not whole", False, 1),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(
    api: Loopback, claude: Claude, status: int, body: object, told: str, lasting: bool, requests: int
) -> None:
    api.reply = lambda n: (status, body)
    api.headers["retry-after-ms"] = "1"
    with pytest.raises(ApiTrouble, match=told) as trouble:
        summary_of(claude)
    assert str(trouble.value).startswith(claude.recipient)
    assert "\n" not in str(trouble.value)
    assert KEY not in str(trouble.value)
    assert trouble.value.lasting is lasting
    assert len(api.requests) == requests


def test_after_the_timeout_it_is_tried_once_more_and_then_told(api: Loopback, claude: Claude) -> None:
    assert (claude.timeout, claude.retries) == (20.0, 1)
    api.reply = lambda n: (200, message()) if api.released.wait(30) else (500, "")
    started = time.monotonic()
    with pytest.raises(ApiTrouble, match="gave no answer within 1 s"):
        summary_of(replace(claude, timeout=1.0))
    assert time.monotonic() - started < 8
    assert len(api.requests) == 2


def test_nobody_there(claude: Claude) -> None:
    for url in ("http://127.0.0.1:9", "nonsense"):
        with pytest.raises(ApiTrouble, match="could not be reached"):
            summary_of(replace(claude, url=url, retries=0))
