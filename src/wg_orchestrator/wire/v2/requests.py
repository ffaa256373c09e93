"""What a client says: written by the client, read by the service."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.wire.errors import MalformedJoin, MalformedMessage
from wg_orchestrator.wire.v2 import fields

MAX_ENDPOINTS = 8
"""Endpoints that a client may announce at a time."""

Value = TypeVar("Value")

# The service's end


@dataclass(frozen=True, slots=True)
class Resume:
    """Which session the client comes back to, and the last revision that it has heard of there."""

    session: str = field(repr=False)
    """A secret, of at most 64 characters."""
    revision: int


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a client sends first, and once. What it has left out is None. Fields besides these are ignored."""

    display_name: str
    public_key: str
    endpoints: tuple[Endpoint, ...] | None = None
    """All that it announces, best first; which of them others may be told is not for the wire to say."""
    virtual_ip: VirtualIP | None = None
    """The address that it wishes for, of any network."""
    resume: Resume | None = None

    @classmethod
    def parse(cls, text: str) -> "JoinRequest":
        """Read the first message. Whether name and key are valid is for the core to say. Raises MalformedJoin."""
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
    """A new name, or new endpoints in place of those announced before, or both. None is unchanged."""

    display_name: str | None = None
    endpoints: tuple[Endpoint, ...] | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The client's WireGuard is as of this revision."""

    revision: int


Message: TypeAlias = Update | Applied


def parse_message(text: str) -> Message:
    """Read a message that comes after the join. Another join is none of these.

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
                return Applied(fields.count(given.get("revision")))
            case _:
                raise ValueError("neither an update nor applied")
    except ValueError as error:
        raise MalformedMessage from error


def _optional(given: dict[str, Any], key: str, read: Callable[[Any], Value]) -> Value | None:
    # A field that is null is given, and wrong.
    return read(given[key]) if key in given else None


def _read_endpoints(value: Any) -> tuple[Endpoint, ...]:
    return tuple(map(fields.endpoint, fields.items(value, MAX_ENDPOINTS)))


def _read_resume(value: Any) -> Resume:
    if not isinstance(value, dict):
        raise ValueError("no object")
    return Resume(fields.session(value.get("session")), fields.count(value.get("revision")))


# The client's end


def join(
    display_name: str,
    public_key: str,
    endpoints: Iterable[Endpoint] | None = None,
    virtual_ip: VirtualIP | None = None,
    resume: Resume | None = None,
) -> str:
    """What a client sends first. None is left out. Whether the values are valid is for the service to say."""
    return _written(
        type="join",
        display_name=display_name,
        public_key=public_key,
        endpoints=_texts(endpoints),
        virtual_ip=None if virtual_ip is None else str(virtual_ip),
        resume=None if resume is None else {"session": resume.session, "revision": resume.revision},
    )


def update(display_name: str | None = None, endpoints: Iterable[Endpoint] | None = None) -> str:
    """What a client sends when its name or its endpoints have changed. None is left out, and stays as it is."""
    return _written(type="update", display_name=display_name, endpoints=_texts(endpoints))


def applied(revision: int) -> str:
    """What a client sends once its WireGuard is as of `revision`; more often than once a second is of no use."""
    return _written(type="applied", revision=revision)


def _written(**members: Any) -> str:
    # In ASCII, so that it can be sent whatever the name: it is the service that says what is wrong with one.
    return json.dumps({key: value for key, value in members.items() if value is not None}, separators=(",", ":"))


def _texts(endpoints: Iterable[Endpoint] | None) -> list[str] | None:
    return None if endpoints is None else list(map(str, endpoints))
