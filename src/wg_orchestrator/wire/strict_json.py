"""JSON as all versions of the protocol read and write it."""

import json
from typing import Any, NoReturn

quoted = json.JSONEncoder(ensure_ascii=False).encode
"""Encodes a text as JSON, with only the escapes that JSON requires."""


def decode(text: str) -> Any:
    """Read JSON strictly: no NaN or infinity, no key twice in an object, at any depth.

    Raises ValueError, also for JSON that is nested too deeply.
    """
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
