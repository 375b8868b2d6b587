"""Turns at the model: one at a time, in order, whoever is waited for first."""

import threading
import time

import pytest

from studies.limits import Limit
from studies.store import Refused
from studies.turns import Turns


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def ask(turns: Turns, who: str, order: list[str], urgent: bool = False, given_up=lambda: False) -> threading.Thread:
    """Ask in a thread, and return once it stands in line."""

    def run() -> None:
        with turns.turn(who, lambda: urgent, given_up) as mine:
            order.append(who if mine else f"{who} went away")

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: any(place[1] is who for place in turns._waiting) or who in "".join(order))
    return thread


def test_turns_come_in_the_order_of_asking_and_whoever_is_waited_for_first() -> None:
    turns, order = Turns(), list[str]()
    with turns.turn("first"):
        threads = [ask(turns, "ada", order), ask(turns, "bob", order), ask(turns, "eve", order, urgent=True)]
        assert [turns.before(who) for who in ("first", "eve", "ada", "bob", "nobody")] == [0, 1, 2, 3, 0]
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == ["eve", "ada", "bob"]
    assert turns.before("ada") == 0


def test_nobody_has_two_turns_while_another_waits() -> None:
    turns, order, greedy = Turns(), list[str](), ["a"] * 5

    def again_and_again() -> None:
        for who in greedy:
            with turns.turn(who):
                order.append(who)
                time.sleep(0.01)

    thread = threading.Thread(target=again_and_again)
    with turns.turn("first"):
        thread.start()
        wait_until(lambda: turns._waiting)
        other = ask(turns, "b", order)
    thread.join(10), other.join(10)
    assert order.index("b") == 1


def test_one_at_a_time() -> None:
    turns, inside, most = Turns(), [0], [0]

    def work() -> None:
        for _ in range(20):
            with turns.turn(threading.get_ident()):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1]


def test_who_gives_up_holds_nobody_up() -> None:
    turns, order, gone = Turns(), list[str](), threading.Event()
    with turns.turn("first"):
        first, second = ask(turns, "ada", order, given_up=gone.is_set), ask(turns, "bob", order)
        gone.set()
        turns.look_again()
        first.join(10)
        assert order == ["ada went away"]
        assert turns.before("bob") == 1
    second.join(10)
    assert order == ["ada went away", "bob"]


def test_an_error_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("ada"):
        raise ZeroDivisionError
    with turns.turn("bob") as mine:
        assert mine


def test_seconds_are_told_from_the_turns_before() -> None:
    turns = Turns()
    assert turns.seconds_left("ada") == 0.0, "nothing is known yet"
    with turns.turn("ada"):
        time.sleep(0.05)
    assert turns.seconds >= 0.05
    turns.seconds = 10.0
    with turns.turn("ada"):
        thread = ask(turns, "bob", [])
        assert 10 < turns.seconds_left("bob") <= 20
    thread.join(10)


def test_a_limit_lets_a_burst_through_and_then_as_many_as_a_minute_has(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = Limit(burst=3, a_minute=6)
    for _ in range(3):
        limit.take("ada")
    with pytest.raises(Refused, match="wait 10 s"):
        limit.take("ada")
    limit.take("bob")
    now[0] += 9
    with pytest.raises(Refused, match="wait 1 s"):
        limit.take("ada")
    now[0] += 1
    limit.take("ada")
    now[0] += 3600
    for _ in range(3):
        limit.take("ada")
    with pytest.raises(Refused):
        limit.take("ada")
