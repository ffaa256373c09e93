"""What a source may cost that shows bad tokens."""

from collections.abc import Mapping

from tests.builders import ACME
from tests.unit.adapters.websocket.test_sessions import MemoryConnection
from wg_orchestrator.adapters.websocket.credentials import Credentials
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import Grant
from wg_orchestrator.domain.errors import BadCredentials, NoCredentials
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

HERE, THERE = "192.0.2.1", "192.0.2.2"


class CountingAdmission:
    """Lets in who shows "good" or "known", and counts what it has to look at."""

    def __init__(self) -> None:
        self.looks = 0

    async def admit(self, tenant_id: TenantId, token: str | None) -> Grant:
        if token is None:
            raise NoCredentials("none")
        self.looks += 1
        if token not in ("good", "known"):
            raise BadCredentials("bad")
        return Grant()

    def remembers(self, token: str) -> bool:
        return token == "known"


class DeniedConnection(MemoryConnection):
    """Notes the status that it is answered with."""

    status = 0

    async def deny(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status


class Door:
    def __init__(self) -> None:
        self.telemetry = Telemetry(100)
        self.admission = CountingAdmission()
        self.credentials = Credentials(self.admission, PeerTelemetry(self.telemetry), max_bad_rate=1.0)

    async def knock(self, token: str | None, source: str = HERE) -> int:
        """The status of the answer; 101: it is let in."""
        connection = DeniedConnection()
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        granted = await self.credentials.grant(connection, ACME, headers, source)
        return connection.status if granted is None else 101


async def test_a_source_that_shows_too_many_bad_tokens_is_not_looked_at_any_more() -> None:
    door = Door()
    statuses = [await door.knock(f"bad-{number}") for number in range(20)]
    assert statuses == [401] * 10 + [429] * 10
    assert door.admission.looks == 10
    assert await door.knock("good") == 429
    assert await door.knock(None) == 401
    assert await door.knock("known") == 101
    assert await door.knock("good", THERE) == 101
    labels = {"outcome": "too many bad tokens"}
    assert door.telemetry.registry.get_sample_value("wg_orchestrator_admissions_total", labels) == 11


async def test_the_addresses_of_one_site_are_one_source() -> None:
    door = Door()
    statuses = [await door.knock("bad", f"2001:db8::{number}") for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert await door.knock("good", "2001:db8:0:1::1") == 101


async def test_good_tokens_and_none_cost_nothing_of_the_budget() -> None:
    door = Door()
    assert [await door.knock("good") for _ in range(30)] == [101] * 30
    assert [await door.knock(None) for _ in range(30)] == [401] * 30
    assert await door.knock("bad") == 401
