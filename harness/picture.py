from typing import Any


class Picture:
    """What a client of protocol v1 knows of its tenant: the welcome, with each notice after it applied in order.

    It uses none of the service's own code, because it checks what the service sends.
    """

    def __init__(self) -> None:
        self.virtual_ip = ""
        self.peers: dict[str, dict[str, str]] = {}
        """The other peers, by virtual IP."""

    def apply(self, message: dict[str, Any]) -> None:
        """Apply a message. Raises ValueError if it contradicts the picture."""
        if "peers" in message:
            self.virtual_ip = message["virtual_ip"]
            self.peers = {peer["virtual_ip"]: peer for peer in message["peers"]}
            if len(self.peers) < len(message["peers"]) or self.virtual_ip in self.peers:
                raise ValueError("a welcome with one address twice")
        elif "removed_peer" in message:
            if self.peers.pop(message["removed_peer"], None) is None:
                raise ValueError(f"{message['removed_peer']} left and was never there")
        elif message["virtual_ip"] in self.peers or message["virtual_ip"] == self.virtual_ip:
            raise ValueError(f"{message['virtual_ip']} joined twice")
        else:
            self.peers[message["virtual_ip"]] = message
