"""Which tunnels there should be, whatever the service says."""

from ipaddress import ip_address

from tests.builders import a_key, a_peer
from tests.unit.agent.builders import NETWORK, allowed, endpoint, observed
from wg_orchestrator.agent.wishes import Wishes
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.wire.v2.notices import Joined, Message, Welcome

OWN = a_key(100)
ADDRESS = ip_address("100.64.0.100")
GRACE = 60


def a_welcome(*peers: Peer, session: str = "session", revision: int = 10) -> Welcome:
    return Welcome(revision, session, GRACE, ADDRESS, NETWORK, peers)


class Machine:
    """A picture with its wishes; `has` are the numbers of the peers that the interface has."""

    def __init__(self, session: str = "") -> None:
        self.picture = Picture()
        self.wishes = Wishes(OWN, self.picture, session)

    def hears(self, message: Message, now: float = 0.0, has: tuple[int, ...] = ()) -> None:
        self.picture.apply(message)
        self.wishes.take(message, {a_key(number): observed(number) for number in has}, now)

    def peers(self, now: float = 0.0) -> set[str]:
        return {str(network) for networks in self.wishes.allowed_ips(now).values() for network in networks}


def test_each_peer_has_its_address_and_no_more() -> None:
    machine = Machine()
    machine.hears(a_welcome(a_peer(1), a_peer(2)))
    assert machine.wishes.allowed_ips(0) == {a_key(n): allowed(f"{a_peer(n).virtual_ip}/32") for n in (1, 2)}
    assert machine.wishes.allowed_ips_of(a_key(2)) == allowed(f"{a_peer(2).virtual_ip}/32")


def test_what_a_service_may_not_say_gets_no_tunnel() -> None:
    machine = Machine()
    own = Peer(a_peer(1).display_name, OWN, ip_address("100.64.0.5"))
    outside = Peer(a_peer(1).display_name, a_key(2), ip_address("8.8.8.8"))
    machine.hears(a_welcome(own, outside, a_peer(3)))
    assert machine.peers() == {f"{a_peer(3).virtual_ip}/32"}
    assert machine.wishes.allowed_ips_of(a_key(2)) is None


def test_an_endpoint_that_leads_nowhere_is_passed_over() -> None:
    machine = Machine()
    lies = tuple(map(endpoint, ("127.0.0.1:1", "224.0.0.1:1", "100.64.0.9:1", "10.0.0.1:0", "10.0.0.1:9")))
    machine.hears(a_welcome(Peer(a_peer(1).display_name, a_key(1), ip_address("100.64.0.1"), lies)))
    assert machine.wishes.endpoints(a_key(1)) == (endpoint("10.0.0.1:9"),)


def test_after_a_welcome_of_another_session_peers_that_are_missing_have_the_grace_to_come_back() -> None:
    machine = Machine("old")
    machine.hears(a_welcome(a_peer(1), session="new"), now=1000, has=(1, 2))
    assert machine.peers(1059) == {"100.64.0.1/32", "100.64.0.2/32"}
    assert machine.wishes.next_end() == 1060
    assert machine.peers(1060) == {"100.64.0.1/32"}
    assert machine.wishes.next_end() is None


def test_after_a_welcome_of_the_same_session_they_have_left() -> None:
    machine = Machine("session")
    machine.hears(a_welcome(a_peer(1)), now=1000, has=(1, 2))
    assert machine.peers(1000) == {"100.64.0.1/32"}


def test_an_address_leads_to_whoever_has_it_now() -> None:
    machine = Machine("old")
    machine.hears(a_welcome(session="new"), now=1000, has=(2,))
    newcomer = Peer(a_peer(7).display_name, a_key(7), a_peer(2).virtual_ip)
    machine.hears(Joined(11, newcomer), now=1001)
    assert machine.wishes.allowed_ips(1001) == {a_key(7): allowed(f"{a_peer(2).virtual_ip}/32")}


def test_a_peer_that_comes_back_is_as_the_service_says() -> None:
    machine = Machine("old")
    machine.hears(a_welcome(session="new"), now=1000, has=(2,))
    back = Peer(a_peer(2).display_name, a_key(2), ip_address("100.64.0.77"))
    machine.hears(Joined(11, back), now=1001)
    assert machine.peers(1001) == {"100.64.0.77/32"}


def test_a_peer_that_came_back_and_left_has_no_grace() -> None:
    machine = Machine("old")
    machine.hears(a_welcome(session="new"), now=1000, has=(1, 2))
    machine.wishes.heard_of(a_key(1))
    assert machine.peers(1001) == {"100.64.0.2/32"}


def test_a_peer_that_came_back_while_this_machine_was_away_has_no_grace_after_that() -> None:
    machine = Machine("old")
    machine.hears(a_welcome(session="new"), now=1000, has=(1, 2))
    machine.hears(a_welcome(a_peer(1), session="new", revision=11), now=1001, has=(1, 2))
    machine.hears(a_welcome(session="new", revision=12), now=1002, has=(1, 2))
    assert machine.peers(1002) == {"100.64.0.2/32"}
