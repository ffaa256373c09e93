"""Names of peers for a hosts file (`hosts(5)`)."""

import re
import unicodedata
from collections.abc import Collection, Iterable

from wg_orchestrator.domain.peer import Peer, VirtualIP

_LONGEST_LABEL = 63


def host_label(text: str) -> str:
    """`text` as one label of a host name (RFC 1123, section 2.1): lower case letters, digits and hyphens. "" if nothing
    of it is left.
    """
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:_LONGEST_LABEL].rstrip("-")


def host_names(peers: Iterable[Peer], tenant: str, known: Collection[str] = ()) -> list[tuple[VirtualIP, str]]:
    """An address and a name `PEER.TENANT` for each peer, in the order of addresses.

    If several peers have one name, the one with the lowest address has it, and the others get `-2`, `-3` and so on. The
    same goes for names that are `known` already: a peer can't take them.
    """
    domain = host_label(tenant) or "tenant"
    taken = set(map(str.lower, known))
    numbers: dict[str, int] = {}
    entries: list[tuple[VirtualIP, str]] = []
    for peer in sorted(peers, key=lambda peer: (peer.virtual_ip.version, int(peer.virtual_ip))):
        label = host_label(peer.display_name) or "peer"
        name = f"{label}.{domain}"
        while name in taken:
            numbers[label] = numbers.get(label, 1) + 1
            suffix = f"-{numbers[label]}"
            name = f"{label[: _LONGEST_LABEL - len(suffix)]}{suffix}.{domain}"
        taken.add(name)
        entries.append((peer.virtual_ip, name))
    return entries
