"""One thread for many."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.alone import Alone
from engine.backbone import Backbone
from engine.decode import decode
from engine.methods.base import Ask, Conditioning


def test_all_work_is_done_by_one_thread_and_one_piece_at_a_time() -> None:
    alone, inside, most = Alone("work"), 0, 0

    def work(n: int) -> tuple[int, str]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        inside -= 1
        return n, threading.current_thread().name

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: alone.do(lambda: work(n)), range(40)))
    assert [n for n, _ in found] == list(range(40))
    assert len({name for _, name in found}) == most == 1


def test_what_work_raises_is_raised_to_who_asked_and_the_next_goes_on() -> None:
    alone = Alone("work")
    with pytest.raises(ZeroDivisionError):
        alone.do(lambda: 1 // 0)
    assert alone.do(lambda: 7) == 7


@pytest.mark.filterwarnings("ignore")  # forking with threads is what is tested
def test_a_forked_process_has_a_thread_of_its_own() -> None:
    alone = Alone("work")
    alone.do(os.getpid)
    child = os.fork()
    if child == 0:
        os._exit(0 if alone.do(os.getpid) == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_visitors_threads_decode_in_one_thread_what_they_would_decode_themselves(tiny: Backbone) -> None:
    def told(n: int) -> list[str]:
        conditioning = Conditioning([{"role": "user", "content": "goose " * (n + 1)}])
        seen: list[str] = []
        decode(tiny, [(conditioning, Ask(seed=n, max_new_tokens=3))],
               on_text=lambda *_: seen.append(threading.current_thread().name))  # fmt: skip
        return seen

    with ThreadPoolExecutor(4) as pool:
        names = {name for seen in pool.map(told, range(8)) for name in seen}
    assert len(names) == 1
    assert threading.current_thread().name not in names
