"""Reads what JetStream answers. Anybody who may subscribe to the requests could answer them too, so each answer is
checked.
"""

import json
from typing import Any

from wg_orchestrator.adapters.nats.connection import NotHeard


def parse_answer(subject: str, answer: bytes) -> dict[str, Any]:
    """An object; an `error` in it has a code and a description. Raises NotHeard if it is none of JetStream's."""
    try:
        parsed: Any = json.loads(answer)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        error = parsed.get("error")
        if error is None or (isinstance(error, dict) and {"code", "description"} <= error.keys()):
            return parsed
    raise NotHeard(f"{subject}: an answer that is none of JetStream's")


def sequence_of(answer: dict[str, Any]) -> int:
    """Raises NotHeard."""
    sequence = answer.get("seq")
    if type(sequence) is not int:
        raise NotHeard("an answer without a sequence")
    return sequence
