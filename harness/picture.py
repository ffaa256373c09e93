from typing import Any


class Picture:
    """What a client knows of its tenant, in the words of protocol v1: the welcome, and each notice after it, in order.

    It is the harness's own, for it judges what the service says: nothing of the service's parsing is in it.
    """

    def __init__(self) -> None:
        self.virtual_ip = ""
        self.peers: dict[str, dict[str, str]] = {}
        """The others, by virtual IP."""

    def apply(self, message: dict[str, Any]) -> None:
        """Raises ValueError if the message contradicts the picture, or is none."""
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
