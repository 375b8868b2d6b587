"""Palate: a blind taste test for personalised language models. `python app.py --help` lists the flags."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.space import Space, space

GPU_SECONDS = 20  # that a lent accelerator is asked for: a pair takes a few of them


def flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="app.py", description="A blind taste test for personalised language models.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("palate-data"), help="holds everything personal; delete it to forget"
    )
    parser.add_argument(
        "--database-url",
        metavar="URL",
        help="keep votes and all other tables in this PostgreSQL, postgresql://user@host/name, and only files in the "
        "data folder; a password is safer in PALATE_DATABASE_URL",
    )
    parser.add_argument(
        "--model",
        help="hub id or folder of a chat model, or its name on a server (default: the one chosen last on the Models "
        "page, or the embedded one)",
    )
    parser.add_argument(
        "--encoder", metavar="NAME", help="sentence encoder that sees your likes: hub id or folder (default: embedded)"
    )
    parser.add_argument(
        "--quantize",
        choices=["auto", "none", "int8", "nf4"],
        default="auto",
        help="auto, none, int8 or nf4; auto: 4-bit only where a GPU has no room for more",
    )
    parser.add_argument(
        "--engine",
        choices=["process", "openai", "vllm"],
        default="process",
        help="where the model runs: in this process, or on an OpenAI-style server at --base-url, for the ways that "
        "speak in messages; vllm: soft tokens and adapters as well, with the same model on this disk",
    )
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help="of that server: http://127.0.0.1:8000/v1; its key is read from OPENAI_API_KEY",
    )
    parser.add_argument(
        "--base",
        choices=["auto", "none"],
        default="auto",
        help="auto: all ways of writing stand on the model as tuned to jokes, where there is such an adapter for it",
    )
    parser.add_argument(
        "--import",
        dest="table",
        type=Path,
        metavar="PATH",
        help="export of Reddit, TikTok, Instagram or X, or a table of texts with likes or ratings",
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="ROLE=NAME", help="names a column of the import: rating=stars"
    )
    parser.add_argument(
        "--summary-model",
        default="claude-haiku-5-5",
        metavar="NAME",
        help="Anthropic model that sums up your taste, only with ANTHROPIC_API_KEY set and a yes on the About page",
    )
    parser.add_argument(
        "--rank",
        choices=["nearness", "topics", "item_lm", "ctr", "judge"],
        default="nearness",
        help="what ranks the feed: nearness to your likes, the nearest of your topics, a recommender that learned from "
        "many people (python -m engine learn item_lm ctr), or the local model as a judge",
    )
    parser.add_argument(
        "--image-model",
        metavar="NAME",
        help="offers pairs of pictures as well, painted by this text-to-image model: hub id or folder; needs "
        "requirements-image.txt",
    )
    parser.add_argument(
        "--image-steps",
        type=int,
        metavar="N",
        help="steps of a picture, up to 4 without guidance, as models for so few want (default: the image model's own)",
    )
    parser.add_argument("--study", type=Path, metavar="FILE", help="run the study that this TOML file describes")
    parser.add_argument(
        "--hosted",
        action="store_true",
        help="strangers come: each visitor has an own room, turns at the model are fair, nobody teaches it",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the schedule: which pairs, sides and topics come when")
    return parser


def lender(here: Space | None) -> Callable[..., Any] | None:
    """What lends this Space its accelerator, None where there is none. Imported before torch, as it wants to be."""
    if not here or not here.zero_gpu:
        return None
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it imports gradio
    os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # it stands in for the accelerator in this thread only
    try:
        import spaces  # a Space brings it along
    except ImportError:
        print("There is no package `spaces` here, so the model runs on the CPU")
        return None
    lent: Callable[..., Any] = spaces.GPU(duration=GPU_SECONDS)
    return lent


def main() -> int:
    started = time.perf_counter()
    here, asked = space(), flags()
    if here:
        asked.set_defaults(host="0.0.0.0")
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "*")  # the Space's proxy alone reaches us; it says who calls
    chosen = asked.parse_args([*here.flags, *sys.argv[1:]] if here else None)
    chosen.hosted |= bool(here and not chosen.study)
    gpu = lender(here)
    from demo.page import (  # late: --help must not wait for these
        CannotStart,
        Room,
        check_port,
        only_one,
        open_house,
        serve,
        serve_study,
        told,
    )

    try:
        check_port(chosen.host, chosen.port)
        if chosen.study and chosen.rank != "nearness":
            raise CannotStart("a study shows its own texts in its own order: leave --rank out")
        if chosen.study and chosen.image_model:
            raise CannotStart("a study shows texts: leave --image-model out")
        if chosen.image_steps is not None and (chosen.image_steps < 1 or not chosen.image_model):
            raise CannotStart("--image-steps is a number from 1 up, for the model that --image-model names")
        if chosen.hosted and (chosen.study or chosen.table):
            raise CannotStart("--hosted gives every visitor a room of their own: leave --study and --import out")
        if here and chosen.study and chosen.data_dir == asked.get_default("data_dir"):
            raise CannotStart(
                "a Space's disk does not last, nor would the study: name a --data-dir on storage that does"
            )
        alone = only_one(chosen.data_dir) if chosen.study or chosen.hosted else None
        if chosen.study:
            room = Room.open(
                chosen.study,
                chosen.data_dir,
                chosen.model,
                chosen.quantize,
                chosen.encoder,
                chosen.base == "auto",
                chosen.database_url,
                chosen.engine,
                chosen.base_url,
            )
            print("\n".join([*told(room.study), room.engine_line()]).strip(), flush=True)
            if gpu and room.writer:
                raise CannotStart(
                    "here raters would wait for an accelerator: write the texts beforehand (docs/hosting.md)"
                )
            room.start()
            return _until_ended(serve_study(room, chosen.host, chosen.port, here), started, alone)
        house = open_house(
            chosen.data_dir,
            hosted=chosen.hosted,
            seed=chosen.seed,
            model=chosen.model,
            quantize=chosen.quantize,
            summary_model=chosen.summary_model,
            sentence_encoder=chosen.encoder,
            base=chosen.base == "auto",
            rank=chosen.rank,
            database_url=chosen.database_url,
            runs=chosen.engine,
            base_url=chosen.base_url,
            gpu=gpu,
            image_model=chosen.image_model,
            image_steps=chosen.image_steps,
        )
        if chosen.table:
            print(house.import_table(chosen.table, chosen.column).sentences())
    except CannotStart as error:
        print(f"Palate cannot start: {str(error).rstrip('.')}.", file=sys.stderr)
        return 2
    if house.notice:
        print(house.notice)
    print(house.engine_line())
    house.start()
    return _until_ended(serve(house, chosen.host, chosen.port, here), started, alone, house.last)


def _until_ended(address: str, started: float, alone: object, last: Callable[[], None] = lambda: None) -> int:
    """Wait for a sign to end; `alone` is held until then, and `last` done at the end."""
    print(f"Palate is ready at {address} after {time.perf_counter() - started:.1f} s", flush=True)
    ended = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: ended.set())
    ended.wait()
    last()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: it would wait for a text being written and for every open browser. What counts is on disk.
    os._exit(code)
