"""The literal table of methods, and the arms of a comparison: a method with its hyperparameters."""

import hashlib
import json
from dataclasses import asdict

from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.history import History
from engine.methods.none import NoProfile
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary

METHODS: dict[str, type[Method]] = {
    "none": NoProfile,
    "history": History,
    "retrieval": Retrieval,
    "summary": Summary,
}


def arm_id(method: Method) -> str:
    """Method name and a short hash of its settings: another setting is another arm."""
    settings = json.dumps(asdict(method), sort_keys=True, default=str)
    return f"{method.name}-{hashlib.sha256(settings.encode()).hexdigest()[:6]}"


ARMS: dict[str, Method] = {
    arm_id(method): method
    for method in (
        NoProfile("plain"),
        NoProfile("comedian"),
        NoProfile("observer"),
        History(),
        Retrieval(),
        Summary(),
    )
}

__all__ = ["ARMS", "METHODS", "Ask", "Conditioning", "Method", "State", "arm_id"]
