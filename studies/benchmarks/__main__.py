"""python -m studies.benchmarks speed|crash [--json]: measure the app and its engine on this machine."""

import argparse
import json

from studies.benchmarks import arithmetic, crash, speed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.benchmarks", description=__doc__)
    parser.add_argument("what", choices=["speed", "crash"])
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.add_argument("--times", type=int, default=100, help="kills of `crash`")
    parser.add_argument("--model", help="as in app.py")
    options = parser.parse_args()
    flags = ["--model", options.model] if options.model else []
    if options.what == "speed":
        found = {**speed.run(*flags), **arithmetic.run(options.model)}
    else:
        found = crash.run(options.times, *flags)
    print(json.dumps(found) if options.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
