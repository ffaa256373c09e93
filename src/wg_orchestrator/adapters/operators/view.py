"""What operators see of the service, from what this node knows and what the others answer."""

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from wg_orchestrator.adapters.operators.models import (
    Applied,
    BehindPeer,
    Holder,
    Holders,
    NodesAsked,
    OneTenant,
    Paths,
    Peer,
    PeerPaths,
    Peers,
    Tenant,
    Tenants,
    as_exact_time,
    as_time,
)
from wg_orchestrator.domain import tenant as core
from wg_orchestrator.domain.history import History, Holding
from wg_orchestrator.domain.nodes import Answer, Answers, Nodes, Question
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.domain.presence import MOST_BEHIND, Presences
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.wire.subprotocol import V2

_PATHS_AT_ONCE = 250
"""Peers whose paths fit into one message between nodes."""


class View:
    """Answers questions about tenants and peers, for all nodes."""

    def __init__(
        self, tenants: TenantRepository, nodes: Nodes, presences: Presences, history: History | None = None
    ) -> None:
        """Without a `history`, it is not known who held an address before."""
        self._tenants = tenants
        self._history = history
        self._nodes = nodes
        self._presences = presences
        nodes.answer_with(self._answer, presences.count)

    async def tenants(self, limit: int, after: str) -> Tenants:
        """Those whose ids come after that one."""
        found = sorted((one for one in self._tenants.all() if one.id > after), key=lambda one: one.id)
        page = found[:limit]
        answers = await self._nodes.ask({"applied": [one.id for one in page]})
        following = page[-1].id if len(found) > limit else None
        return Tenants(tenants=[_tenant(one, answers) for one in page], next=following, nodes=asked(answers))

    async def tenant(self, tenant_id: TenantId) -> OneTenant | None:
        """None: nobody is in it."""
        found = self._tenants.get(tenant_id)
        if not found.stays:
            return None
        answers = await self._nodes.ask({"applied": [tenant_id]})
        return OneTenant(**_tenant(found, answers).model_dump(), nodes=asked(answers))

    async def peers(self, tenant_id: TenantId, limit: int, after: int) -> Peers | None:
        """Those whose addresses, as numbers, come after that one. None: nobody is in the tenant."""
        stays = self._tenants.get(tenant_id).stays
        if not stays:
            return None
        found = sorted((stay for stay in stays if _address(stay) > after), key=_address)
        page = found[:limit]
        answers = await self._nodes.ask({"stays": [stay.id for stay in page]})
        at = {
            presence["stay"]: (node, presence)
            for node, answer in answers.answered.items()
            for presence in answer.get("presences", ())
        }
        following = str(page[-1].peer.virtual_ip) if len(found) > limit else None
        return Peers(
            peers=[_peer(stay, *at.get(stay.id, (None, None))) for stay in page], next=following, nodes=asked(answers)
        )

    async def paths(self, tenant_id: TenantId, limit: int, after: int) -> Paths | None:
        """How peers reach each other, as far as they say: of those whose addresses come after that one."""
        stays = self._tenants.get(tenant_id).stays
        if not stays:
            return None
        found = sorted((stay for stay in stays if _address(stay) > after), key=_address)
        page = found[:limit]
        ids = [stay.id for stay in page]
        parts = [ids[first : first + _PATHS_AT_ONCE] for first in range(0, max(1, len(ids)), _PATHS_AT_ONCE)]
        # All at once, as a node that is silent is waited for.
        answered = await asyncio.gather(*(self._nodes.ask({"paths": part}) for part in parts))
        said: dict[str, dict[str, str]] = {}
        for answers in answered:
            for answer in answers.answered.values():
                said.update(answer.get("paths", {}))
        present = {str(stay.peer.virtual_ip) for stay in stays}
        listed = [
            PeerPaths(
                virtual_ip=str(stay.peer.virtual_ip),
                paths={address: kind for address, kind in said[stay.id].items() if address in present},
            )
            for stay in page
            if stay.id in said
        ]
        following = str(page[-1].peer.virtual_ip) if len(found) > limit else None
        return Paths(paths=listed, next=following, nodes=asked(answered[0]))

    async def history(
        self, tenant_id: TenantId, address: VirtualIP, at: float | None, limit: int, after: str
    ) -> Holders | None:
        """Who held the address, or held it `at` a moment. None: that is not known at all. Raises Unavailable."""
        if self._history is None:
            return None
        holdings = await self._history.holdings(tenant_id, address)
        found = [one for one in holdings if one.covers(at) and _cursor(one) > after]
        page = found[:limit]
        following = _cursor(page[-1]) if len(found) > limit else None
        holders = [_holder(one, str(address)) for one in page]
        return Holders(holders=holders, next=following, nodes=asked(await self._nodes.ask({})))

    def _answer(self, question: Question) -> Answer:
        """What this node says."""
        answer: dict[str, Any] = {}
        if "stays" in question:
            found = self._presences.of_stays(StayId(str(stay)) for stay in question["stays"])
            answer["presences"] = [asdict(presence) for presence in found]
        if "applied" in question:
            convergence = self._presences.convergence(TenantId(str(one)) for one in question["applied"])
            answer["applied"] = {tenant_id: asdict(one) for tenant_id, one in convergence.items()}
        if "paths" in question:
            paths = self._presences.paths(StayId(str(stay)) for stay in question["paths"])
            answer["paths"] = {
                stay_id: {str(address): kind.value for address, kind in one.items()} for stay_id, one in paths.items()
            }
        return answer


def asked(answers: Answers) -> NodesAsked:
    return NodesAsked(answered=sorted(answers.answered), silent=list(answers.silent))


def _address(stay: Stay) -> int:
    return int(stay.peer.virtual_ip)


def _cursor(holding: Holding) -> str:
    """Its place in the order, as a text that sorts like it."""
    return f"{int(holding.since * 1000):015}:{holding.stay}"


def _holder(holding: Holding, address: str) -> Holder:
    return Holder(
        public_key=holding.public_key,
        display_name=holding.display_name,
        virtual_ip=address,
        since=as_exact_time(holding.since),
        to=None if holding.until is None else as_exact_time(holding.until),
        cause=holding.cause,
    )


def _tenant(tenant: "core.Tenant", answers: Answers) -> Tenant:
    said: Iterable[dict[str, Any]] = [
        answer["applied"][tenant.id] for answer in answers.answered.values() if tenant.id in answer.get("applied", {})
    ]
    behind = sorted((one for part in said for one in part["behind"]), key=lambda one: int(one["since"]))
    return Tenant(
        tenant=tenant.id,
        revision=tenant.revision,
        peers=len(tenant.stays),
        applied=Applied(
            by=sum(part["by"] for part in said),
            of=sum(part["of"] for part in said),
            behind=[BehindPeer(**{**one, "since": as_time(one["since"])}) for one in behind[:MOST_BEHIND]],
        ),
    )


def _peer(stay: Stay, node: str | None, presence: dict[str, Any] | None) -> Peer:
    peer = stay.peer
    return Peer(
        display_name=peer.display_name,
        public_key=peer.public_key.text,
        virtual_ip=str(peer.virtual_ip),
        endpoints=list(map(str, peer.endpoints)),
        proven=peer.proven,
        protocol=None if presence is None else "v2" if presence["protocol"] == V2 else "v1",
        node=node,
        source=None if presence is None else presence["source"],
        since=None if presence is None else as_time(presence["since"]),
        applied=(presence["applied"] or None) if presence is not None else None,
        invitation=stay.invitation or None,
    )
