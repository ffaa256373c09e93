import base64
import json
from typing import Any

from harness.keys import a_key_text
from tests.integration.bad_inputs.case import WELCOMED, Case, Closed
from tests.integration.bad_inputs.frames import NUMBER, text
from tests.integration.service import join_message

WATCHER = 1
"""The number of the peer that is already in the tenant."""

KEY = a_key_text(NUMBER)
_FIELDS = f'"display_name": "x", "public_key": "{KEY}"'
_PRIME = 2**255 - 19


def _malformed(name: str, message: str | bytes) -> Case:
    return Case(name, Closed(4501, "malformed join"), frames=text(message))


def _bad_name(name: str, display_name: str) -> Case:
    return Case(name, Closed(4502, "bad display name"), frames=text(_join(display_name=display_name)))


def _bad_key(name: str, public_key: str) -> Case:
    return Case(name, Closed(4503, "bad public key"), frames=text(_join(public_key=public_key)))


def _welcomed(name: str, message: str) -> Case:
    return Case(name, WELCOMED, frames=text(message))


def _join(**changes: Any) -> str:
    return join_message(NUMBER, **changes)


def _spelled(point: int) -> str:
    return base64.b64encode(point.to_bytes(32, "little")).decode()


JSON = [
    _malformed("an empty message", ""),
    _malformed("a message that is not JSON", "join me"),
    _malformed("an array", "[]"),
    _malformed("a string", '"join"'),
    _malformed("a number", "7"),
    _malformed("null", "null"),
    _malformed("half an object", f"{{{_FIELDS}"),
    _malformed("an object and more behind it", f"{{{_FIELDS}}} {{}}"),
    _malformed("a NUL behind the object", f"{{{_FIELDS}}}\0"),
    _malformed("a byte order mark", f"\ufeff{{{_FIELDS}}}"),
    _malformed("a trailing comma", f"{{{_FIELDS},}}"),
    _malformed("a comment", f"{{{_FIELDS}}} // please"),
    _malformed("single quotes", f"{{{_FIELDS}}}".replace('"', "'")),
    _malformed("4,000 arrays in each other", "[" * 4000),
    _malformed("800 objects in each other", '{"a":' * 800),
    _welcomed("100 arrays in each other in an unknown field", f'{{{_FIELDS}, "x": {"[" * 100}{"]" * 100}}}'),
    _malformed("NaN", f'{{{_FIELDS}, "x": NaN}}'),
    _malformed("Infinity", f'{{{_FIELDS}, "x": Infinity}}'),
    _malformed("minus Infinity, deep down", f'{{{_FIELDS}, "x": [{{"y": -Infinity}}]}}'),
    _malformed("a number with a leading zero", f'{{{_FIELDS}, "x": 01}}'),
    _malformed("a raw line end in a string", f'{{"display_name": "a\nb", "public_key": "{KEY}"}}'),
    _malformed("a raw NUL in a string", f'{{"display_name": "a\0b", "public_key": "{KEY}"}}'),
    _malformed("an escape that there is not", f'{{"display_name": "\\x41", "public_key": "{KEY}"}}'),
    _malformed("half an escape", f'{{"display_name": "\\u12", "public_key": "{KEY}"}}'),
    Case("a number of 5,000 digits", Closed(1009, "too big"), frames=text(f'{{{_FIELDS}, "x": {"9" * 5000}}}')),
    _welcomed("a number of 3,900 digits in an unknown field", f'{{{_FIELDS}, "x": {"9" * 3900}}}'),
    _welcomed("a number beyond all floats in an unknown field", f'{{{_FIELDS}, "x": 1e999}}'),
]

FIELDS = [
    _malformed("no fields", "{}"),
    _malformed("no display name", json.dumps({"public_key": KEY})),
    _malformed("no public key", json.dumps({"display_name": "x"})),
    _malformed("fields in another case", json.dumps({"Display_Name": "x", "Public_Key": KEY})),
    _malformed("a display name that is null", _join(display_name=None)),
    _malformed("a display name that is a number", _join(display_name=7)),
    _malformed("a display name that is true", _join(display_name=True)),
    _malformed("a display name that is an array", _join(display_name=["x"])),
    _malformed("a display name that is an object", _join(display_name={})),
    _malformed("a public key that is null", _join(public_key=None)),
    _malformed("a public key that is an array of bytes", _join(public_key=[7] * 32)),
    _malformed("the display name twice", f'{{{_FIELDS}, "display_name": "y"}}'),
    _malformed("the public key twice, and the same", f'{{{_FIELDS}, "public_key": "{KEY}"}}'),
    _malformed("the display name twice, once in escapes", f'{{{_FIELDS}, "display\\u005fname": "y"}}'),
    _malformed("an unknown field twice", f'{{{_FIELDS}, "x": 1, "x": 1}}'),
    _malformed("a field twice in an unknown object", f'{{{_FIELDS}, "x": [{{"y": 1, "\\u0079": 1}}]}}'),
    _welcomed("fields that nobody knows", _join(virtual_ip="100.64.0.7", removed_peer="100.64.0.1", peers=[])),
    _welcomed("fields that Python knows", _join(__class__="x", model_config={}, self=None)),
    _welcomed("a field with an empty name", f'{{"": 1, {_FIELDS}}}'),
    _welcomed("a lone surrogate in an unknown field", f'{{{_FIELDS}, "x": "\\ud800"}}'),
    _welcomed("a display name in escapes", f'{{"display_name": "\\u0078\\ud83e\\udd8a", "public_key": "{KEY}"}}'),
]

NAMES = [
    _bad_name("an empty name", ""),
    _bad_name("a name of 129 code points", "x" * 129),
    _bad_name("a name of 65 code points that normalisation makes 130", "\u0958" * 65),
    _bad_name("a name with a NUL", "a\0b"),
    _bad_name("a name with a line end", "a\nb"),
    _bad_name("a name with a carriage return", "a\rb"),
    _bad_name("a name with a tab", "a\tb"),
    _bad_name("a name that colours a terminal", "\x1b[31mroot\x1b[0m"),
    _bad_name("a name with a DEL", "a\x7f"),
    _bad_name("a name with a C1 control", "a\x85b"),
    _bad_name("a name that turns the writing round", "gpj.\u202eexe"),
    _bad_name("a name that isolates a direction", "a\u2066b"),
    _bad_name("a name with a zero-width space", "a\u200bb"),
    _bad_name("a name with a byte order mark", "\ufeffa"),
    _bad_name("a name with a soft hyphen", "a\u00adb"),
    _bad_name("a name with a line separator", "a\u2028b"),
    _bad_name("a name with a paragraph separator", "a\u2029b"),
    _bad_name("a name with a tag character", "a\U000e0041"),
    _bad_name("a name with a lone high surrogate", "a\ud800b"),
    _bad_name("a name with a lone low surrogate", "a\udc00b"),
    _bad_name("a name with surrogates in the wrong order", "\udd8a\ud83e"),
    _welcomed("a name of 256 code points that normalisation makes 128", _join(display_name="e\u0301" * 128)),
    _welcomed("a name of 128 foxes", _join(display_name="🦊" * 128)),
    _welcomed("a name that is JSON", _join(display_name='"}, {"removed_peer": "100.64.0.1"}')),
    _welcomed("a name that somebody has", _join(display_name=f"peer-{WATCHER}")),
]

KEYS = [
    _bad_key("an empty key", ""),
    _bad_key("a short key", KEY[:-4]),
    _bad_key("a long key", KEY[:-1] + "AAA="),
    _bad_key("a key of 31 bytes", base64.b64encode(b"x" * 31).decode()),
    _bad_key("a key of 33 bytes", base64.b64encode(b"x" * 33).decode()),
    _bad_key("a key without padding", KEY[:-1]),
    _bad_key("a key with more padding", KEY + "="),
    _bad_key("a key in the alphabet for URLs", base64.urlsafe_b64encode(b"\xff" * 31 + b"\x3f").decode()),
    _bad_key("a key with a space before it", " " + KEY),
    _bad_key("a key with a line end behind it", KEY + "\n"),
    _bad_key("a key with a line end in it", KEY[:20] + "\n" + KEY[20:]),
    _bad_key("a key with bits behind its end", KEY[:-2] + chr(ord(KEY[-2]) + 1) + "="),
    _bad_key("a key in hexadecimal", base64.b64decode(KEY).hex()),
    _bad_key("a key that is no ASCII", "é" * 44),
    _bad_key("a key of lone surrogates", "\ud800" * 44),
    _bad_key("a key in full width", "\uff21" * 43 + "="),
    _bad_key("the prime of the field", _spelled(_PRIME)),
    _bad_key("a key above the prime", _spelled(_PRIME + 9)),
    _bad_key("a key with its high bit set", _spelled(int.from_bytes(base64.b64decode(KEY), "little") | 2**255)),
    _bad_key("a key of all bits", _spelled(2**256 - 1)),
    *(
        _bad_key(f"the point of low order {name}", _spelled(point))
        for name, point in {
            "0": 0,
            "1": 1,
            "p - 1": _PRIME - 1,
            "p + 1": _PRIME + 1,
            "325…504": 325606250916557431795983626356110631294008115727848805560023387167927233504,
            "393…823": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
            "325…504 with the high bit": (
                325606250916557431795983626356110631294008115727848805560023387167927233504 | 2**255
            ),
        }.items()
    ),
    Case("a key that is in use", Closed(4004, "key in use"), frames=text(join_message(WATCHER))),
    Case("a key in use under another name", Closed(4004, "key in use"),
         frames=text(join_message(WATCHER, display_name="thief"))),
]  # fmt: skip

JOINS = [*JSON, *FIELDS, *NAMES, *KEYS]
