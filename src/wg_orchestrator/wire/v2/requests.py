"""The messages of a client: the client writes them, the service reads them."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.wire.errors import MalformedJoin, MalformedMessage
from wg_orchestrator.wire.v2 import fields

MAX_ENDPOINTS = 8
"""A client may announce at most this many endpoints in one message."""

MAX_PATHS = 64
"""A client may say of at most this many peers in one message how it reaches them."""

_PATH_KINDS = {kind.value: kind for kind in PathKind}

Value = TypeVar("Value")

# The service's side


@dataclass(frozen=True, slots=True)
class Resume:
    """The session that the client comes back to, and the last revision that it has applied there."""

    session: str = field(repr=False)
    """A secret, of at most 64 characters."""
    revision: int


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A client's first message, which it sends once. A field that it leaves out is None. Unknown fields are ignored."""

    display_name: str
    public_key: str
    endpoints: tuple[Endpoint, ...] | None = None
    """All that the client announces, best first. `passed_on` selects those that other peers may be told."""
    virtual_ip: VirtualIP | None = None
    """The address that the client asks for. It may be of any network."""
    resume: Resume | None = None

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Read the first message. Whether name and key are valid is not checked here. Raises MalformedJoin."""
        try:
            given = fields.decode(text)
            if given.get("type") != "join":
                raise ValueError("no join")
            return cls(
                fields.text(given.get("display_name")),
                fields.text(given.get("public_key")),
                _optional(given, "endpoints", _read_endpoints),
                _optional(given, "virtual_ip", fields.address),
                _optional(given, "resume", _read_resume),
            )
        except ValueError as error:
            raise MalformedJoin from error


@dataclass(frozen=True, slots=True)
class Update:
    """A new name, or new endpoints that replace those announced before, or both. None: no change."""

    display_name: str | None = None
    endpoints: tuple[Endpoint, ...] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The client has set up its WireGuard as of this revision."""

    revision: int
    paths: Mapping[VirtualIP, PathKind] = field(default_factory=dict)
    """How it reaches other peers, as far as it says: only what has changed since it has said so on this connection."""


Message: TypeAlias = Update | Applied


def parse_message(text: str) -> Message:
    """Read a message that comes after the join. A second join is not one.

    Raises MalformedMessage.
    """
    try:
        given = fields.decode(text)
        match given.get("type"):
            case "update":
                return Update(
                    _optional(given, "display_name", fields.text), _optional(given, "endpoints", _read_endpoints)
                )
            case "applied":
                paths = _optional(given, "paths", _read_paths)
                return Applied(fields.count(given.get("revision")), paths or {})
            case _:
                raise ValueError("neither an update nor applied")
    except ValueError as error:
        raise MalformedMessage from error


def _optional(given: dict[str, Any], key: str, read: Callable[[Any], Value]) -> Value | None:
    # A field that is null is not left out. `read` refuses null.
    return read(given[key]) if key in given else None


def _read_endpoints(value: Any) -> tuple[Endpoint, ...]:
    return tuple(map(fields.endpoint, fields.items(value, MAX_ENDPOINTS)))


def _read_paths(value: Any) -> dict[VirtualIP, PathKind]:
    if not isinstance(value, dict) or len(value) > MAX_PATHS:
        raise ValueError(f"no object of at most {MAX_PATHS}")
    kinds = {fields.address(one): _PATH_KINDS.get(fields.text(kind)) for one, kind in value.items()}
    # A later version may know kinds that this one does not.
    return {one: kind for one, kind in kinds.items() if kind is not None}


def _read_resume(value: Any) -> Resume:
    if not isinstance(value, dict):
        raise ValueError("no object")
    return Resume(fields.session(value.get("session")), fields.count(value.get("revision")))


# The client's side


def join(
    display_name: str,
    public_key: str,
    endpoints: Iterable[Endpoint] | None = None,
    virtual_ip: VirtualIP | None = None,
    resume: Resume | None = None,
) -> str:
    """A client's first message, without the fields that are None. The service checks whether the values are valid."""
    return _written(
        type="join",
        display_name=display_name,
        public_key=public_key,
        endpoints=_texts(endpoints),
        virtual_ip=None if virtual_ip is None else str(virtual_ip),
        resume=None if resume is None else {"session": resume.session, "revision": resume.revision},
    )


def update(display_name: str | None = None, endpoints: Iterable[Endpoint] | None = None) -> str:
    """A client's message when its name or its endpoints have changed. What is None is left out, and stays as it is."""
    return _written(type="update", display_name=display_name, endpoints=_texts(endpoints))


def applied(revision: int, paths: Mapping[VirtualIP, PathKind] | None = None) -> str:
    """A client's message when its WireGuard is set up as of `revision`, and reaches other peers so, as far as that has
    changed. Once a second is often enough.
    """
    said = {str(address): kind.value for address, kind in (paths or {}).items()}
    return _written(type="applied", revision=revision, paths=said or None)


def _written(**members: Any) -> str:
    # In ASCII, so that any name can be sent, even one that UTF-8 can't encode: the service says what is wrong with it.
    return json.dumps({key: value for key, value in members.items() if value is not None}, separators=(",", ":"))


def _texts(endpoints: Iterable[Endpoint] | None) -> list[str] | None:
    return None if endpoints is None else list(map(str, endpoints))
