"""The kinds of values that settings have, and how each is read."""

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from wg_orchestrator.domain.endpoint import HIGHEST_PORT, Endpoint
from wg_orchestrator.domain.errors import InvalidEndpoint

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")

Network = IPv4Network | IPv6Network


def as_network(value: object) -> Network:
    return value if isinstance(value, Network) else ip_network(str(value))


def as_own_name(value: object) -> str:
    """A host as `host_name` gives it: a name in lower case without a final dot, or an address, if IPv6 in brackets."""
    name = str(value).removesuffix(".").lower()
    with suppress(ValueError):
        return f"[{IPv6Address(name.removeprefix('[').removesuffix(']')).compressed}]"
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no host name without a port")
    return name


def as_endpoint(value: object) -> Endpoint:
    try:
        endpoint = value if isinstance(value, Endpoint) else Endpoint.parse(str(value))
    except InvalidEndpoint as error:
        raise ValueError(str(error)) from error
    if not 1 <= endpoint.port <= HIGHEST_PORT:
        raise ValueError("a port is from 1 to 65535")
    return endpoint


def _host(name: str) -> str:
    try:
        name.encode("idna")  # The resolver does the same.
    except UnicodeError:
        name = ""
    if not name or not name.isprintable() or " " in name:
        raise ValueError("not the name or address of a host")
    return name


def as_nats_url(url: str) -> str:
    # The error does not repeat the URL, as there may be a password in it.
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        if parts.scheme in ("nats", "tls") and parts.port != 0 and _host(parts.hostname or ""):
            return url
    except ValueError:
        pass
    raise ValueError("a server of NATS is given as nats://host:port or tls://host:port, the port from 1 to 65535")


def as_provider_url(url: str) -> str:
    """The URL, if what comes from there can be believed: https, or plain http on this machine. Raises ValueError."""
    # The error does not repeat the URL, as there may be a password in it.
    with suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_sound = bool(_host(host)) and parts.port != 0 and parts.username is None and not parts.fragment
        if is_sound and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
            return url
    raise ValueError("not an https URL without user; plain http is for this machine only")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a service on this address."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


# A value beyond these bounds is probably mistyped. Some such values would overflow in the kernel or in a timer.
Count = Annotated[int, Field(ge=1, le=100_000_000)]
CountOrAny = Annotated[int, Field(ge=0, le=100_000_000)]
Rate = Annotated[float, Field(ge=0.1, le=1_000_000)]
RateOrAny = Annotated[float, Field(ge=0, le=1_000_000)]
Size = Annotated[int, Field(ge=1, le=2**30)]
Seconds = Annotated[float, Field(ge=0.01, le=86_400)]
Host = Annotated[str, AfterValidator(_host)]


def split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]
