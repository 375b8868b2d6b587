"""Which words would tell a method, an arm or a model before the vote."""

import html
import re

from engine.learning import learns
from engine.methods import ARMS, METHODS
from engine.pictures import TITLES
from studies.pairs import OPENING, title
from studies.schedule import HUMAN

# Method names are everyday words, so they count where they stand as a whole value or with the hash of an arm, and
# "none", which is in every style sheet, only with the hash; titles and arms count anywhere.
UNTAUGHT = [arm for arm, method in ARMS.items() if not learns(method)]  # what can run on a model nobody taught
TAUGHT = [arm for arm in ARMS if arm not in UNTAUGHT]
BEGINNING = [arm for arm in UNTAUGHT if arm in OPENING]  # what takes part before anybody chose
_ARM = "|".join(re.escape(arm) for arm in [*ARMS, *TITLES])
_VALUE = "|".join(f"[\"']{name}(?:-[0-9a-f]{{6}})?[\"']" for name in [*METHODS, HUMAN] if name != "none")
_TITLE = "|".join(re.escape(title(arm)) for arm in [*ARMS, HUMAN, *TITLES])
_MODEL = r"smollm|tiny-model|llama|qwen|135m"
NAMES = re.compile(f"{_ARM}|{_VALUE}|{_TITLE}|{_MODEL}", re.IGNORECASE)
IN_SIGHT = re.compile(rf"{_ARM}|{_TITLE}|{_MODEL}|\b(?:history|retrieval|summary|profile|prompt)\b", re.IGNORECASE)


def names_in(reply: str, *texts: str) -> list[str]:
    """Names in what the server sent, without the candidates' own `texts` (they may hold any word)."""
    return NAMES.findall(_without(reply, texts))


def names_in_sight(page: str, *texts: str) -> list[str]:
    """The same for what a person sees, where plain method names count as well."""
    return IN_SIGHT.findall(_without(page, texts))


def _without(told: str, texts: tuple[str, ...]) -> str:
    told = html.unescape(told.replace('\\"', '"').replace("\\n", "\n"))
    for text in texts:
        told = told.replace(text, "")
    return told
