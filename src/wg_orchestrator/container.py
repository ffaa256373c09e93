from dependency_injector import containers, providers

from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.websocket.limits import AdmissionLimits, ConnectionLimits
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.route import PeerEndpoint
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.settings import Settings


class Container(containers.DeclarativeContainer):
    """Chooses the adapters. Each instance is a service of its own; override a provider to swap an adapter."""

    settings = providers.Singleton(Settings)

    tenants = providers.Singleton(
        InMemoryTenantRepository,
        network=settings.provided.network,
        max_peers_per_tenant=settings.provided.max_peers_per_tenant,
    )
    notifier = providers.Singleton(WebSocketPeerNotifier)
    membership = providers.Singleton(
        MembershipService, tenants=tenants, notifier=notifier, max_tenants=settings.provided.max_tenants
    )

    connection_limits = providers.Singleton(
        ConnectionLimits,
        max_message_size=settings.provided.max_message_size,
        max_frame_rate=settings.provided.max_frame_rate,
        max_outbox_size=settings.provided.max_outbox_size,
        ping_interval=settings.provided.ping_interval,
        ping_timeout=settings.provided.ping_timeout,
        close_timeout=settings.provided.close_timeout,
    )
    admission_limits = providers.Singleton(
        AdmissionLimits,
        max_connections=settings.provided.max_connections,
        join_timeout=settings.provided.join_timeout,
        allowed_origins=settings.provided.allowed_origins,
    )
    peers = providers.Singleton(
        PeerEndpoint, service=membership, admission=admission_limits, connection=connection_limits
    )
