"""Join messages to fuzz with: valid ones, almost valid ones, JSON of other kinds, and anything else."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from harness.keys import a_key_text

_ANY_TEXT = st.text(st.characters(), max_size=140)  # Lone surrogates too.
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_ANY_TEXT, inner, max_size=4)),
    max_leaves=8,
)
_NAMES = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=140),
    _ANY_TEXT,
    st.text(st.sampled_from("aé\u0301\u0958\u200b\u202e\n\0\ud800🦊"), max_size=260),
)
_POINTS = st.one_of(st.integers(0, 2**256 - 1), st.integers(-20, 20).map(lambda offset: 2**255 - 19 + offset))
_KEYS = st.one_of(
    st.integers(0, 1000).map(a_key_text),
    _POINTS.map(lambda point: base64.b64encode(point.to_bytes(32, "little")).decode()),
    st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()),
    _ANY_TEXT,
)


def _spelled(fields: list[tuple[str, Any]], ascii_only: bool) -> str:
    """An object with these fields, of which some may have one name."""
    members = [
        f"{json.dumps(name, ensure_ascii=ascii_only)}: {json.dumps(value, ensure_ascii=ascii_only)}"
        for name, value in fields
    ]
    return "{" + ", ".join(members) + "}"


_OBJECTS = st.builds(
    lambda name, key, more, ascii_only: _spelled([("display_name", name), ("public_key", key), *more], ascii_only),
    _NAMES,
    _KEYS,
    st.lists(st.tuples(_ANY_TEXT, _JSON), max_size=2),
    st.booleans(),
)
_GOOD = st.builds(
    lambda name, number, ascii_only: _spelled([("display_name", name), ("public_key", a_key_text(number))], ascii_only),
    st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), min_size=1, max_size=130),
    st.integers(0, 1000),
    st.booleans(),
)
_HALF_OBJECTS = st.builds(
    _spelled,
    st.lists(
        st.tuples(st.sampled_from(["display_name", "public_key", "x"]), st.one_of(_NAMES, _KEYS, _JSON)), max_size=4
    ),
    st.booleans(),
)


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    text = draw(_OBJECTS)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.text(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    return text


JOIN_TEXTS = st.one_of(_GOOD, _OBJECTS, _HALF_OBJECTS, _mutated(), _JSON.map(json.dumps), _ANY_TEXT)
