import time
from collections.abc import Callable
from typing import NamedTuple

from bench import checks
from bench.client import Client
from bench.crowd import Crowd
from bench.dialect import Dialect
from bench.errors import BrokenPromise, NotReached
from bench.identity import Identity, identity
from bench.server import Server

SETTLE = 0.3
"""Seconds to wait for messages that must not come."""
PATIENCE = 30.0
"""Seconds after which a message that has not come counts as lost."""
CHURNERS_FROM = 50_000
"""The number of the first identity that comes and goes. The identities of members that stay begin at 0."""
_STALLED = 5.0
"""If no notice comes for so many seconds, the server is not slow but has lost something."""
_SAMPLED = 8
_SAMPLED_PASSERS_BY = 10

Note = Callable[[str], None]


class Churn(NamedTuple):
    """What was counted while clients joined and left."""

    rounds: int
    deliveries: int
    cpu_seconds: float


class Stage:
    """A server, a crowd, and the steps of the workloads. Each step checks the server's promises."""

    def __init__(self, server: Server, crowd: Crowd, budget: float, note: Note) -> None:
        self.server = server
        self.crowd = crowd
        self.budget = budget
        """Seconds that it may take to fill the server."""
        self.note = note
        self.members: list[Client] = []
        self.passers_by: list[Client] = []
        """The clients that joined and left the first tenant, in the order in which they joined."""

    def fill(self, tenants: int, size: int, at_once: int, *, sampled: int = _SAMPLED) -> None:
        """Let clients join until each of `tenants` has `size` members, `at_once` at a time.

        The clients of a tenant take the server's nodes in turn. In each of the first tenants `sampled` newcomers, or a
        few more, are checked in full.

        Raises NotReached if it takes longer than the budget.
        """
        crowd, members = self.crowd, self.members
        before = len(members) // tenants
        newcomers = tenants * (size - before)
        admitted = crowd.admitted + newcomers
        # A newcomer learns of another peer by its welcome or by a notice, whichever join was first: so count both.
        due = crowd.notices + crowd.listed + newcomers * (size - 1) + tenants * before * (size - before)
        stride = max(1, (size - before) // sampled)
        nodes = len(self.server.ports)

        def connect_next(_: Client | None = None) -> None:
            number = len(members)
            if number < tenants * size:
                sample = number % tenants < _SAMPLED and number // tenants % stride == 0
                where, node = tenant(number % tenants), (number % tenants + number // tenants) % nodes
                dialect = self.dialect(number // tenants)
                members.append(
                    Client(identity(number), where, dialect=dialect, node=node, sampled=sample, on_member=connect_next)
                )
                crowd.connect(members[-1])

        def full() -> bool:
            self.note(f"{newcomers - admitted + crowd.admitted:,} of {newcomers:,} joined")
            return crowd.admitted >= admitted and crowd.notices + crowd.listed >= due

        for _ in range(at_once):
            connect_next()
        if not crowd.run(full, self.budget):
            if time.perf_counter() - crowd.last_notice > _STALLED:
                missing = due - crowd.notices - crowd.listed
                raise BrokenPromise(f"{admitted - crowd.admitted} joins and {missing:,} notices never came")
            got = crowd.admitted + tenants * size - admitted
            raise NotReached(f"{got:,} of {tenants * size:,} members in {self.budget:.0f} s")
        crowd.rest(SETTLE)
        for member in members[: tenants * before]:
            member.owed += size - before
        for member in members[tenants * before :]:
            member.owed = size - 1 - member.welcomed
        self.check_counts()

    def churn(self, clients: int, seconds: float) -> Churn:
        """Let so many clients at a time join the first tenant and leave at once, again and again, for `seconds`."""
        crowd = self.crowd
        came: list[Client] = []
        sampled = [0]
        inside = [clients]
        end = time.monotonic() + seconds

        def come(who: Identity) -> None:
            sample = sampled[0] < _SAMPLED_PASSERS_BY and len(came) >= 3 * sampled[0]
            sampled[0] += sample
            dialect = self.dialect(who.number)
            crowd.connect(Client(who, tenant(0), dialect=dialect, sampled=sample, on_member=go, on_gone=gone))

        def go(client: Client) -> None:
            came.append(client)
            crowd.leave(client)

        def gone(client: Client) -> None:
            if time.monotonic() < end:
                come(client.identity)
            else:
                inside[0] -= 1

        notices = crowd.notices
        cpu = self.server.cpu_seconds
        for number in range(clients):
            come(identity(CHURNERS_FROM + number))
        if not crowd.run(lambda: inside[0] == 0, seconds + PATIENCE):
            raise BrokenPromise(f"{inside[0]} clients did not get in and out within {PATIENCE} s")
        due = notices + 2 * len(came) * len(self.members) + sum(client.notices for client in came)
        crowd.run(lambda: crowd.notices >= due, PATIENCE)
        cpu = self.server.cpu_seconds - cpu
        deliveries = crowd.notices - notices
        crowd.rest(SETTLE)
        self.passers_by += came
        for member in self.members:
            member.owed += 2 * len(came)
        self.check_counts()
        return Churn(len(came), deliveries, cpu)

    def dialect(self, number: int) -> Dialect:
        """The protocol version that the client of that number speaks."""
        speaks = self.server.speaks
        return speaks[number % len(speaks)]

    def check_counts(self) -> None:
        checks.counts(self.members)
        checks.addresses(self.members)

    def check_in_full(self, tenants: int = 1) -> None:
        """Check every notice of the sampled members. This takes less time than a member may leave a ping unanswered."""
        self.note("checking")
        for number in range(min(tenants, _SAMPLED)):
            members = [member for member in self.members if member.tenant == tenant(number)]
            checks.tenant_in_full(members, passers_by=self.passers_by if number == 0 else ())


def tenant(number: int) -> str:
    return f"tenant-{number}"
