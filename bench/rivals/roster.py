import json
from collections import deque
from ipaddress import IPv4Address
from typing import Generic, NamedTuple, TypeVar

Handle = TypeVar("Handle")


class Admission(NamedTuple):
    """What has to be sent when a client joins."""

    virtual_ip: str
    welcome: str
    notice: str


class Roster(Generic[Handle]):
    """One tenant, for any rival. It keeps its entries as JSON, so that welcomes make no rival slow."""

    def __init__(self) -> None:
        self.handles: dict[str, Handle] = {}
        """What a rival needs to reach each member, by virtual IP."""
        self._entries: dict[str, str] = {}
        self._next = int(IPv4Address("100.64.0.1"))
        self._free: deque[str] = deque()

    def admit(self, message: str) -> Admission:
        """Admit the sender of this join message. `handles` does not change: the rival adds the newcomer itself."""
        request = json.loads(message)
        if self._free:
            virtual_ip = self._free.popleft()
        else:
            virtual_ip = str(IPv4Address(self._next))
            self._next += 1
        welcome = f'{{"virtual_ip":"{virtual_ip}","peers":[{",".join(self._entries.values())}]}}'
        newcomer = {
            "display_name": request["display_name"],
            "public_key": request["public_key"],
            "virtual_ip": virtual_ip,
        }
        notice = self._entries[virtual_ip] = json.dumps(newcomer, separators=(",", ":"))
        return Admission(virtual_ip, welcome, notice)

    def remove(self, virtual_ip: str) -> str:
        """Free this address, and return the notice for the members that remain."""
        self.handles.pop(virtual_ip, None)
        del self._entries[virtual_ip]
        self._free.append(virtual_ip)
        return f'{{"removed_peer":"{virtual_ip}"}}'


class Rosters(Generic[Handle]):
    """All tenants. A tenant without members is forgotten."""

    def __init__(self) -> None:
        self._rosters: dict[str, Roster[Handle]] = {}

    def __getitem__(self, tenant: str) -> Roster[Handle]:
        if tenant not in self._rosters:
            self._rosters[tenant] = Roster()
        return self._rosters[tenant]

    def forget_if_empty(self, tenant: str) -> None:
        roster = self._rosters.get(tenant)
        if roster is not None and not roster.handles:
            del self._rosters[tenant]
