"""The literal table of methods, and the arms of a comparison: a method with its hyperparameters."""

import hashlib
import json
from dataclasses import fields

from engine.methods.base import Ask, Conditioning, Method, State
from engine.methods.cope import CoPe
from engine.methods.cross_attention import CrossAttention
from engine.methods.dpo import DPO
from engine.methods.e2p import E2P
from engine.methods.fitted import Fitted
from engine.methods.history import History
from engine.methods.lora import TAM, LoRA
from engine.methods.none import NoProfile
from engine.methods.persoma import Persoma
from engine.methods.reranked import Reranked
from engine.methods.retrieval import Retrieval
from engine.methods.summary import Summary
from engine.methods.topics import Topics

METHODS: dict[str, type[Method]] = {
    "none": NoProfile,
    "history": History,
    "retrieval": Retrieval,
    "summary": Summary,
    "e2p": E2P,
    "topics": Topics,
    "persoma": Persoma,
    "cross_attention": CrossAttention,
    "fitted": Fitted,
    "lora": LoRA,
    "dpo": DPO,
    "cope": CoPe,
    "reranked": Reranked,
}


def arm_id(method: Method) -> str:
    """Method name and a short hash of its settings: another setting is another arm."""
    settings = json.dumps(settings_of(method), sort_keys=True)
    return f"{method.name}-{hashlib.sha256(settings.encode()).hexdigest()[:6]}"


def settings_of(method: Method) -> dict[str, object]:
    """The fields; a wrapped method stands in them by its own arm id."""
    told = {field.name: getattr(method, field.name) for field in fields(method)}
    return {name: arm_id(value) if isinstance(value, Method) else value for name, value in told.items()}


ARMS: dict[str, Method] = {
    arm_id(method): method
    for method in (
        NoProfile("plain"),
        NoProfile("comedian"),
        NoProfile("observer"),
        History(),
        Retrieval(),
        Summary(),
        E2P(),
        E2P(tokens=5),
        E2P(aware=True),
        Topics(),
        Persoma(),
        CrossAttention(),
        LoRA(),
        LoRA(of="picked"),
        LoRA(of="explained"),
        Fitted(),
        DPO(),
        CoPe(),
        CoPe(expert=DPO()),
        Reranked(),
    )
}

BASES: dict[str, LoRA] = {arm_id(TAM): TAM}  # adapters that stand under all arms alike

__all__ = ["ARMS", "BASES", "METHODS", "Ask", "Conditioning", "Method", "State", "arm_id"]
