from wg_orchestrator.adapters.nats.claim import Place
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.tenant_id import TenantId


class Subjects:
    """The subjects of one epoch of a stream: `<stream>.<epoch>.peer.<tenant>.<address>`, `….key.<tenant>.<key>`,
    `….node.<node>` and `….sync.<process>`; and `<stream>.epoch`, which says which epoch it is. Only the dots of tenants
    and addresses have to be spelled differently: `=` is not in a tenant id, `-` not in an address.
    """

    def __init__(self, stream: str, epoch: str, followed: tuple[str, ...] = ("peer", "node", "sync")) -> None:
        """`followed` are the kinds of subjects that a feed brings."""
        self.epoch = epoch
        self.which_epoch = f"{stream}.epoch"
        self._prefix = f"{stream}.{epoch}"
        self._kind = len(self._prefix) + 1
        self.feed = [self.which_epoch, *(f"{self._prefix}.{kind}.>" for kind in followed)]

    def of(self, kind: str, *tokens: str) -> str:
        """The subject of another kind."""
        return ".".join([self._prefix, kind, *(token.replace(".", "=") for token in tokens)])

    def peer(self, place: Place) -> str:
        return f"{self._prefix}.peer.{place[0].replace('.', '=')}.{str(place[1]).replace('.', '-')}"

    def key(self, tenant_id: TenantId, key: PublicKey) -> str:
        return f"{self._prefix}.key.{tenant_id.replace('.', '=')}.{key}"

    def node(self, node: str) -> str:
        return f"{self._prefix}.node.{node}"

    def sync(self, process: str) -> str:
        return f"{self._prefix}.sync.{process}"

    def split(self, subject: str) -> list[str]:
        """The tokens after the epoch. The first one is the kind of the subject."""
        return subject[self._kind :].split(".")
