import time
from collections.abc import Callable
from contextlib import nullcontext

from dependency_injector import containers, providers

from wg_orchestrator import optional_adapters
from wg_orchestrator.adapters.admission.open_admission import OpenAdmission
from wg_orchestrator.adapters.http.health import Readiness
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords
from wg_orchestrator.adapters.memory.nodes import OneNode
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.adapters.operators.api import OperatorsApi
from wg_orchestrator.adapters.operators.events import EventLog
from wg_orchestrator.adapters.operators.recorder import Recorder
from wg_orchestrator.adapters.operators.steering import Steering
from wg_orchestrator.adapters.operators.view import View
from wg_orchestrator.adapters.websocket.aim import AimRule
from wg_orchestrator.adapters.websocket.arrival import Resumption
from wg_orchestrator.adapters.websocket.credentials import Credentials
from wg_orchestrator.adapters.websocket.endpoint import PeerEndpoint
from wg_orchestrator.adapters.websocket.evictions import Evictions
from wg_orchestrator.adapters.websocket.history import HistoryLimits
from wg_orchestrator.adapters.websocket.lanes import V2Terms
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.proofs import Proofs, ProofTerms
from wg_orchestrator.adapters.websocket.receipts import Receipts
from wg_orchestrator.adapters.websocket.sessions import Sessions
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.proof import ProofPolicy
from wg_orchestrator.grace import Grace
from wg_orchestrator.settings import Settings
from wg_orchestrator.telemetry.telemetry import Telemetry


def _for_the_first(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


class Container(containers.DeclarativeContainer):
    """Chooses the adapters. Each instance is a separate service. To replace an adapter, override its provider."""

    settings = providers.Singleton(Settings)

    telemetry = providers.Singleton(Telemetry, max_log_rate=settings.provided.max_log_rate)
    grace = providers.Singleton(Grace, settings.provided.shutdown_timeout)

    memory_tenants = providers.Singleton(
        InMemoryTenantRepository,
        network=settings.provided.network,
        max_peers_per_tenant=settings.provided.max_peers_per_tenant,
        scatters=providers.Factory(_for_the_first, settings.provided.grace),
    )
    nats_timings = providers.Singleton(Timings)
    nats_tenants = providers.Singleton(optional_adapters.nats_tenants, settings, telemetry, nats_timings)
    tenants = providers.Selector(settings.provided.store, memory=memory_tenants, nats=nats_tenants)

    peer_telemetry = providers.Singleton(PeerTelemetry, telemetry)
    v2_terms = providers.Singleton(
        V2Terms,
        network=settings.provided.network,
        grace=settings.provided.grace,
        history=providers.Factory(
            HistoryLimits, notices=settings.provided.history_size, size=settings.provided.history_bytes
        ),
    )
    notifier = providers.Singleton(WebSocketPeerNotifier, telemetry=peer_telemetry, terms=v2_terms)
    membership = providers.Singleton(
        MembershipService, tenants=tenants, notifier=notifier, max_tenants=settings.provided.max_tenants
    )
    memory_records = providers.Singleton(InMemoryAdmissionRecords)
    sqlite_records = providers.Singleton(optional_adapters.sqlite_records, settings.provided.state)
    nats_records = providers.Singleton(optional_adapters.nats_records, settings, nats_timings)
    records = providers.Selector(
        settings.provided.records, memory=memory_records, sqlite=sqlite_records, nats=nats_records
    )
    admission_control = providers.Singleton(AdmissionControl, records)
    invitations = providers.Singleton(optional_adapters.invitations, settings, records, telemetry)
    oidc = providers.Singleton(optional_adapters.oidc, settings, telemetry)
    admission = providers.Selector(
        settings.provided.admission,
        open=providers.Singleton(OpenAdmission),
        invitations=invitations,
        oidc=oidc,
        either=providers.Singleton(optional_adapters.either, invitations, oidc),
    )
    aim = providers.Singleton(
        AimRule, network=settings.provided.network, trusts_strangers=settings.provided.trust_endpoints
    )
    challenger = providers.Selector(
        settings.provided.rendezvous,
        off=providers.Object(None),
        udp=providers.Singleton(optional_adapters.challenger, settings, telemetry),
    )
    proofs = providers.Singleton(
        Proofs,
        challenger=challenger,
        terms=providers.Factory(
            ProofTerms,
            policy=providers.Factory(ProofPolicy, settings.provided.proof),
            timeout=settings.provided.join_timeout,
        ),
        telemetry=peer_telemetry,
    )
    sessions = providers.Singleton(
        Sessions,
        service=membership,
        notifier=notifier,
        telemetry=peer_telemetry,
        grace=grace,
        resumption=providers.Factory(
            Resumption,
            aim=aim,
            grace=settings.provided.grace,
            most_away=settings.provided.max_connections,
            update_interval=settings.provided.update_interval,
        ),
        proofs=proofs,
        control=admission_control,
        # No faster than another node takes their handshakes.
        max_release_rate=settings.provided.max_handshake_rate,
    )
    receipts = providers.Singleton(
        Receipts,
        records=records,
        connected=sessions.provided.connected,
        telemetry=peer_telemetry,
        node=settings.provided.node,
    )
    evictions = providers.Singleton(
        Evictions,
        service=membership,
        tenants=tenants,
        control=admission_control,
        sessions=sessions,
        receipts=receipts,
        telemetry=peer_telemetry,
    )
    peers = providers.Singleton(
        PeerEndpoint,
        sessions=sessions,
        aim=aim,
        credentials=providers.Singleton(Credentials, admission, peer_telemetry),
        limits=settings,
        allowed_hosts=settings.provided.allowed_hosts,
        allowed_origins=settings.provided.allowed_origins,
        telemetry=peer_telemetry,
    )

    nats_nodes = providers.Singleton(
        optional_adapters.nats_nodes, settings, nats_tenants.provided.process, nats_timings
    )
    nodes = providers.Selector(
        settings.provided.store, memory=providers.Singleton(OneNode, settings.provided.node), nats=nats_nodes
    )
    sqlite_history = providers.Singleton(
        optional_adapters.sqlite_history, settings.provided.state, sqlite_records, settings.provided.audit_days
    )
    nats_history = providers.Singleton(optional_adapters.nats_history, settings, nats_nodes, nats_tenants, nats_timings)
    history = providers.Selector(
        settings.provided.records, memory=providers.Object(None), sqlite=sqlite_history, nats=nats_history
    )
    recorder = providers.Singleton(Recorder, history=history, tenants=tenants, nodes=nodes)
    view = providers.Singleton(
        View, tenants=tenants, nodes=nodes, presences=sessions.provided.connected, history=history
    )
    """What operators see. It also answers what other nodes ask."""
    operators = providers.Factory(
        OperatorsApi,
        view=view,
        steering=providers.Singleton(Steering, service=membership, tenants=tenants, records=records),
        nodes=nodes,
        events=providers.Factory(EventLog, tenants=tenants, nodes=nodes, telemetry=telemetry),
        hosts=settings.provided.admin_allowed_hosts,
        signing_key=settings.provided.invitation_signing_key,
    )

    store = providers.Selector(
        settings.provided.store,
        memory=providers.Factory(nullcontext),
        nats=nats_tenants.provided.running.call(grace.provided.left),
    )
    """The context manager within which the tenants are held. Each call makes a new one."""
    rendezvous = providers.Selector(
        settings.provided.rendezvous,
        off=providers.Factory(nullcontext),
        udp=challenger.provided.running.call(),
    )
    """The context manager within which keys can be proven. Each call makes a new one."""
    remembering = providers.Selector(
        settings.provided.records,
        memory=providers.Factory(nullcontext),
        sqlite=sqlite_records.provided.running.call(),
        nats=nats_records.provided.running.call(),
    )
    """The context manager within which admissions are remembered. Each call makes a new one."""
    admitting = providers.Selector(
        settings.provided.admission,
        open=providers.Factory(nullcontext),
        invitations=admission.provided.running.call(),
        oidc=admission.provided.running.call(),
        either=admission.provided.running.call(),
    )
    """The context manager within which credentials can be checked. Each call makes a new one."""
    recording = providers.Selector(
        settings.provided.records,
        memory=providers.Factory(nullcontext),
        sqlite=recorder.provided.running.call(),
        nats=recorder.provided.running.call(),
    )
    """The context manager within which joins and leaves are written down. Each call makes a new one."""
    neighbours = providers.Selector(
        settings.provided.store, memory=providers.Factory(nullcontext), nats=nats_nodes.provided.running.call()
    )
    """The context manager within which nodes hear of each other. Each call makes a new one."""
    services = providers.List(
        store,
        remembering,
        neighbours,
        recording,
        rendezvous,
        admitting,
        sessions.provided.running.call(),
        evictions.provided.running.call(),
    )
    """The context managers within which the service runs: enter them in this order. Each call makes new ones."""
    readiness = providers.Singleton(
        Readiness,
        providers.Selector(
            settings.provided.store,
            memory=providers.List(),
            nats=providers.List(nats_tenants.provided.is_ready, nats_records.provided.is_ready),
        ),
    )
