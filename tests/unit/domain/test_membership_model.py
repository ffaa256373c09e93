from ipaddress import IPv4Network

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.builders import ACME, GLOBEX, a_key, a_newcomer, at_once, peers_of
from tests.fakes import RecordingNotifier, Subscriber
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.domain.errors import KeyInUse, NoAddressLeft
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId

NETWORK = IPv4Network("10.0.0.0/29")
HOSTS = list(NETWORK.hosts())


class NaiveTenant:
    """The rules of address assignment in their simplest form, whatever time they take."""

    def __init__(self) -> None:
        self.members: dict[VirtualIP, int] = {}
        self.used: set[VirtualIP] = set()
        self.released: list[tuple[VirtualIP, int]] = []

    def expected(self, key: int) -> VirtualIP | None:
        own = [address for address, owner in self.released if owner == key]
        never_used = [address for address in HOSTS if address not in self.used]
        oldest = [address for address, _ in self.released]
        return next(iter(own[-1:] + never_used + oldest), None)

    def join(self, key: int, address: VirtualIP) -> None:
        self.members[address] = key
        self.used.add(address)
        self.released = [entry for entry in self.released if entry[0] != address]

    def leave(self, address: VirtualIP) -> None:
        self.released.append((address, self.members.pop(address)))


class MembershipMachine(RuleBasedStateMachine):
    """Random joins and leaves in two tenants on one network, against the naive model."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = InMemoryTenantRepository(NETWORK, max_peers_per_tenant=100)
        self.membership = MembershipService(self.tenants, RecordingNotifier(), max_tenants=2)
        self.models = {ACME: NaiveTenant(), GLOBEX: NaiveTenant()}
        self.subscribers: dict[tuple[TenantId, VirtualIP], tuple[Stay, Subscriber]] = {}

    @rule(tenant_id=strategies.sampled_from([ACME, GLOBEX]), key=strategies.integers(0, 9))
    def join(self, tenant_id: TenantId, key: int) -> None:
        model, subscriber = self.models[tenant_id], Subscriber()
        try:
            stay = at_once(self.membership.join(tenant_id, a_newcomer(key), subscriber))
        except KeyInUse:
            assert key in model.members.values()
        except NoAddressLeft:
            assert len(model.members) == len(HOSTS)
        else:
            address = stay.peer.virtual_ip
            assert address == model.expected(key)
            assert address not in model.members
            model.join(key, address)
            self.subscribers[tenant_id, address] = stay, subscriber

    @rule(data=strategies.data())
    def leave(self, data: strategies.DataObject) -> None:
        if not self.subscribers:
            return
        tenant_id, address = data.draw(strategies.sampled_from(sorted(self.subscribers)))
        stay, subscriber = self.subscribers.pop((tenant_id, address))
        told = len(subscriber.seen)
        at_once(self.membership.leave(stay))
        assert len(subscriber.seen) == told
        self.models[tenant_id].leave(address)
        if not self.models[tenant_id].members:
            self.models[tenant_id] = NaiveTenant()  # A tenant that nobody is in is forgotten.

    @invariant()
    def every_picture_is_the_models(self) -> None:
        for tenant_id, model in self.models.items():
            truth = {peer.virtual_ip: peer for peer in peers_of(self.tenants.get(tenant_id))}
            assert {address: a_key(key) for address, key in model.members.items()} == {
                address: peer.public_key for address, peer in truth.items()
            }
            for (subscribed_to, _), (_, subscriber) in self.subscribers.items():
                if subscribed_to == tenant_id:
                    assert subscriber.picture() == truth

    @invariant()
    def only_tenants_with_peers_are_held(self) -> None:
        assert self.tenants.count() == sum(bool(model.members) for model in self.models.values())


TestMembershipModel = MembershipMachine.TestCase
TestMembershipModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
