from collections.abc import Iterable, Sequence

from bench import frames
from bench.client import Client
from bench.dialect import Change, Picture
from bench.errors import BrokenPromise


def counts(members: Iterable[Client]) -> None:
    """Each of `members` has got exactly as many notices as it should."""
    for member in members:
        if member.notices != member.owed:
            raise BrokenPromise(f"{member.identity.name} was owed {member.owed} notices and got {member.notices}")


def addresses(members: Sequence[Client]) -> None:
    """No two members of one tenant have one address."""
    if len({(member.tenant, member.virtual_ip) for member in members}) != len(members):
        raise BrokenPromise("an address is held twice")


def told_in_full(client: Client) -> tuple[Picture, list[Change]]:
    """What a sampled client was told: the picture of its welcome, and each notice."""
    try:
        picture = client.dialect.picture(client.welcome)
        changes = [client.dialect.change(text) for text in frames.texts(b"".join(client.raw or ()))]
    except ValueError as error:
        raise BrokenPromise(f"{client.identity.name} got what is no welcome, or no notice: {error}") from error
    return picture, changes


def apply(picture: Picture, change: Change, who: str) -> None:
    """Apply the change to the picture. Raises BrokenPromise if it announces a peer that the picture has, or removes one
    that the picture does not have.
    """
    if change.peer is None:
        if picture.pop(change.virtual_ip, None) is None:
            raise BrokenPromise(f"{who} was told that {change.virtual_ip} left, which it did not know")
    elif change.virtual_ip in picture:
        raise BrokenPromise(f"{who} was told twice that {change.virtual_ip} is there")
    else:
        picture[change.virtual_ip] = change.peer


def tenant_in_full(members: Sequence[Client], *, passers_by: Sequence[Client] = ()) -> None:
    """The pictures of the sampled members are the truth, and they were told of all changes in one order.

    `members` are all who are in the tenant at the end. `passers_by` joined and left meanwhile; clients of one identity
    are in the order in which they joined. The welcome of each of them must have the size that the tenant had at that
    moment. It must not have got more notices than there were until it left. A sampled one must have got exactly the
    right ones, in order.
    """
    told = [(*told_in_full(member), member) for member in members if member.raw is not None]
    told.sort(key=lambda entry: -len(entry[1]))
    if not told:
        return
    truth = {member.virtual_ip: (member.identity.name, member.identity.key) for member in members}
    first, log, eldest = told[0]
    first = dict(first)
    for picture, changes, member in told:
        if len(changes) != member.notices:
            raise BrokenPromise(f"{member.identity.name} got {len(changes)} notices, and {member.notices} were counted")
        if changes != log[len(log) - len(changes) :]:
            raise BrokenPromise(f"{member.identity.name} saw another order than {eldest.identity.name}")
        for change in changes:
            apply(picture, change, member.identity.name)
        if picture != {address: peer for address, peer in truth.items() if address != member.virtual_ip}:
            raise BrokenPromise(f"the picture of {member.identity.name} is not the truth")
    if passers_by:
        _passers_by(eldest, first, log, passers_by)


def _passers_by(eldest: Client, picture: Picture, log: list[Change], passers_by: Sequence[Client]) -> None:
    waiting: dict[str, list[Client]] = {}
    for client in reversed(passers_by):
        waiting.setdefault(client.identity.key, []).append(client)
    since: dict[str, tuple[int, Client]] = {}
    for index, change in enumerate(log):
        if change.peer is None and change.virtual_ip in since:
            came, client = since.pop(change.virtual_ip)
            if client.notices > index - came - 1:
                raise BrokenPromise(f"{client.identity.name} got {client.notices} notices of {index - came - 1}")
        elif change.peer is not None and waiting.get(change.peer[1]):
            client = waiting[change.peer[1]].pop()
            since[change.virtual_ip] = index, client
            _passer_by(client, change.virtual_ip, picture, log[index + 1 : index + 1 + client.notices], eldest)
        apply(picture, change, eldest.identity.name)
    if since or any(waiting.values()):
        raise BrokenPromise("somebody who came and went is still there, or was never announced")


def _passer_by(client: Client, virtual_ip: str, picture: Picture, log: list[Change], eldest: Client) -> None:
    """Check one that came and went. It joined when `eldest` knew `picture`. `log` is what it must have been told."""
    name = client.identity.name
    if client.virtual_ip != virtual_ip:
        raise BrokenPromise(f"{name} was told {client.virtual_ip}, the others {virtual_ip}")
    if client.welcomed != len(picture) + 1:
        raise BrokenPromise(f"{name} was welcomed with {client.welcomed} peers of {len(picture) + 1}")
    if client.raw is not None:
        first, changes = told_in_full(client)
        known = {**picture, eldest.virtual_ip: (eldest.identity.name, eldest.identity.key)}
        if first != known or changes != log:
            raise BrokenPromise(f"{name} was told something else than {eldest.identity.name}")
