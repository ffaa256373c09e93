from typing import TYPE_CHECKING

from dependency_injector import containers, providers

from wg_orchestrator.adapters.http.health import Readiness
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.websocket.endpoint import PeerEndpoint
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.settings import Settings
from wg_orchestrator.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository


def _nats_tenants(settings: Settings, telemetry: Telemetry) -> "NatsTenantRepository":
    # Only who uses NATS needs its client to be installed.
    from wg_orchestrator.adapters.nats.connection import ConnectionOptions
    from wg_orchestrator.adapters.nats.stream import StreamOptions
    from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository

    return NatsTenantRepository(
        settings.network,
        settings.max_peers_per_tenant,
        ConnectionOptions(
            tuple(url.strip() for url in (settings.nats_url or "").split(",")),
            settings.nats_credentials,
            settings.nats_tls_ca,
            settings.nats_tls_certificate,
            settings.nats_tls_key,
        ),
        StreamOptions(settings.nats_stream, str(settings.network), settings.nats_replicas, settings.nats_storage),
        telemetry,
    )


class Container(containers.DeclarativeContainer):
    """Chooses the adapters. Each instance is a service of its own; override a provider to swap an adapter."""

    settings = providers.Singleton(Settings)

    telemetry = providers.Singleton(Telemetry, max_log_rate=settings.provided.max_log_rate)
    tenants = providers.Selector(
        settings.provided.store,
        memory=providers.Singleton(
            InMemoryTenantRepository,
            network=settings.provided.network,
            max_peers_per_tenant=settings.provided.max_peers_per_tenant,
        ),
        nats=providers.Singleton(_nats_tenants, settings, telemetry),
    )
    readiness = providers.Singleton(Readiness)
    notifier = providers.Singleton(WebSocketPeerNotifier, telemetry=telemetry)
    membership = providers.Singleton(
        MembershipService, tenants=tenants, notifier=notifier, max_tenants=settings.provided.max_tenants
    )

    peers = providers.Singleton(
        PeerEndpoint,
        service=membership,
        limits=settings,
        allowed_hosts=settings.provided.allowed_hosts,
        allowed_origins=settings.provided.allowed_origins,
        telemetry=telemetry,
    )
