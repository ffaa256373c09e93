from typing import Any


class SessionPicture:
    """What a client of protocol v2 knows of its tenant: a welcome, with each notice after it applied in order.

    It is written from docs/protocol-v2.md and uses none of the service's own code, because it checks what that sends.
    """

    def __init__(self, public_key: str) -> None:
        self.public_key = public_key
        self.session = ""
        self.virtual_ip = ""
        self.revision = 0
        self.peers: dict[str, dict[str, Any]] = {}
        """The other peers, by public key."""
        self._at: dict[str, str] = {}

    def apply(self, message: dict[str, Any]) -> None:
        """Apply a message. Raises ValueError if it contradicts the picture."""
        kind, revision = message["type"], message["revision"]
        if next(iter(message)) != "type":
            raise ValueError("type does not come first")
        if kind == "welcome":
            self._begin(message)
        elif kind == "resumed":
            if (revision, message["virtual_ip"]) != (self.revision, self.virtual_ip):
                raise ValueError(f"resumed with another place than {self.virtual_ip} at {self.revision}")
            self.session = message["session"]
        elif revision <= self.revision:
            raise ValueError(f"revision {revision} after {self.revision}")
        elif kind == "left":
            self._leave(message["public_key"], message["virtual_ip"])
        else:
            self._put(kind, message["peer"])
        self.revision = revision

    def forget(self) -> None:
        """The session is over: the next join is a new one."""
        self.session, self.revision = "", 0

    def _begin(self, welcome: dict[str, Any]) -> None:
        self.session, self.virtual_ip = welcome["session"], welcome["virtual_ip"]
        self.peers = {peer["public_key"]: peer for peer in welcome["peers"]}
        self._at = {peer["virtual_ip"]: peer["public_key"] for peer in welcome["peers"]}
        if not len(self.peers) == len(self._at) == len(welcome["peers"]):
            raise ValueError("a welcome with one address or key twice")
        if self.virtual_ip in self._at or self.public_key in self.peers:
            raise ValueError("a welcome with the client itself")

    def _put(self, kind: str, peer: dict[str, Any]) -> None:
        key, address = peer["public_key"], peer["virtual_ip"]
        if kind == "joined":
            if key in self.peers or address in self._at or address == self.virtual_ip or key == self.public_key:
                raise ValueError(f"{address} joined twice")
        elif kind != "updated":
            raise ValueError(f"a {kind}")
        elif self._at.get(address) != key:
            raise ValueError(f"{address} was updated and never there with that key")
        self.peers[key], self._at[address] = peer, key

    def _leave(self, key: str, address: str) -> None:
        if self._at.get(address) != key:
            raise ValueError(f"{address} left and was never there with that key")
        del self.peers[key], self._at[address]
