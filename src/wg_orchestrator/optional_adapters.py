"""Makes the adapters that are loaded only by a service that uses them: what they import may not be installed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wg_orchestrator.adapters.nats.timings import USUAL, Timings
from wg_orchestrator.domain.ports import Admission, AdmissionRecords, Challenger, TenantRepository
from wg_orchestrator.settings import Settings
from wg_orchestrator.telemetry.telemetry import Telemetry


def _nats_connection(settings: Settings) -> Any:
    from wg_orchestrator.adapters.nats.connection import ConnectionOptions

    return ConnectionOptions(
        tuple(url.strip() for url in (settings.nats_url or "").split(",")),
        settings.nats_credentials,
        settings.nats_tls_ca,
        settings.nats_tls_certificate,
        settings.nats_tls_key,
    )


def _nats_stream(settings: Settings) -> Any:
    from wg_orchestrator.adapters.nats.stream_settings import StreamOptions

    return StreamOptions(settings.nats_stream, str(settings.network), settings.nats_replicas, settings.nats_storage)


def nats_tenants(settings: Settings, telemetry: Telemetry, timings: Timings) -> TenantRepository:
    from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository

    return NatsTenantRepository(
        settings.network,
        settings.max_peers_per_tenant,
        _nats_connection(settings),
        _nats_stream(settings),
        telemetry,
        timings,
        settings.grace,
    )


def challenger(settings: Settings, telemetry: Telemetry) -> Challenger:
    from wg_orchestrator.adapters.rendezvous.challenger import UdpChallenger
    from wg_orchestrator.adapters.rendezvous.key_file import private_key

    return UdpChallenger(
        private_key(settings.rendezvous_key),
        settings.host,
        settings.rendezvous_port or 0,
        settings.rendezvous_endpoint,
        telemetry,
    )


def sqlite_records(path: Path) -> Any:
    """SqliteAdmissionRecords. Raises Unusable."""
    from wg_orchestrator.adapters.sqlite.admission_records import SqliteAdmissionRecords

    return SqliteAdmissionRecords(path)


def nats_records(settings: Settings, timings: Timings = USUAL, may_be_made: bool = True) -> Any:
    """NatsAdmissionRecords. `may_be_made`: whether the stream is made if it is not there."""
    from wg_orchestrator.adapters.nats.admission_records import NatsAdmissionRecords

    stream = replace(_nats_stream(settings), may_be_made=may_be_made)
    return NatsAdmissionRecords(_nats_connection(settings), stream, timings)


def sqlite_history(path: Path, records: Any, days: int) -> Any:
    """SqliteHistory, in the file of SqliteAdmissionRecords."""
    from wg_orchestrator.adapters.sqlite.history import SqliteHistory

    return SqliteHistory(path, records.database, days)


def nats_history(settings: Settings, nodes: Any, tenants: Any, timings: Timings) -> Any:
    """NatsHistory, on the connection of NatsNodes."""
    from wg_orchestrator.adapters.nats.history import NatsHistory

    stream = _nats_stream(settings)
    return NatsHistory(nodes.connection, stream, settings.audit_days, tenants, tenants.is_ready, timings)


def nats_nodes(settings: Settings, process: str, timings: Timings) -> Any:
    """NatsNodes."""
    from wg_orchestrator.adapters.nats.nodes import NatsNodes

    return NatsNodes(settings.node, process, settings.nats_stream, _nats_connection(settings), timings)


def invitations(settings: Settings, records: AdmissionRecords, telemetry: Telemetry) -> Admission:
    from wg_orchestrator.adapters.admission.invitation_admission import InvitationAdmission

    return InvitationAdmission(settings.invitation_keys or Path(), records, telemetry)


def oidc(settings: Settings, telemetry: Telemetry) -> Admission:
    from wg_orchestrator.adapters.admission.oidc_admission import OidcAdmission, Provider

    provider = Provider(settings.oidc_issuer or "", settings.oidc_audience or "", settings.oidc_tenants or "")
    return OidcAdmission(provider, telemetry)


def either(invitations: Any, provider: Any) -> Admission:
    from wg_orchestrator.adapters.admission.either import EitherAdmission

    return EitherAdmission(invitations, provider)
