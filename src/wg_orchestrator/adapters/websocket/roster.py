from collections.abc import Iterable, Iterator

_BLOCK = 64
"""Entries of a block."""


class _Block:
    __slots__ = ("_joined", "entries")

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self._joined: bytes | None = None

    def change(self) -> dict[str, bytes]:
        self._joined = None
        return self.entries

    def joined(self) -> bytes:
        if self._joined is None:
            self._joined = b",".join(self.entries.values())
        return self._joined


class Roster:
    """Everyone in a tenant by key, encoded as JSON, in the order they came.

    Every newcomer is sent all of it. To join ten thousand entries anew takes milliseconds, so they are kept in blocks,
    and each block is joined again only after it has changed.
    """

    __slots__ = ("_block_of", "_blocks")

    def __init__(self, entries: Iterable[tuple[str, bytes]]) -> None:
        self._fill(entries)

    def add(self, key: str, entry: bytes) -> None:
        """Put an entry at the end, whose key is not in yet."""
        block = self._blocks[-1] if self._blocks else None
        if block is None or len(block.entries) >= _BLOCK:
            block = _Block()
            self._blocks.append(block)
        block.change()[key] = entry
        self._block_of[key] = block

    def replace(self, key: str, entry: bytes) -> None:
        """Change an entry at its place. Raises KeyError if the key is not in."""
        self._block_of[key].change()[key] = entry

    def remove(self, key: str) -> None:
        """Raises KeyError if the key is not in."""
        del self._block_of.pop(key).change()[key]
        if len(self._blocks) > 2 * (len(self._block_of) // _BLOCK + 1):  # Half of the room is empty.
            self._fill([entry for block in self._blocks for entry in block.entries.items()])

    def without(self, key: str) -> Iterator[bytes]:
        """All entries but this one: pieces, each of one or more entries with commas between them."""
        own = self._block_of.get(key)
        for block in self._blocks:
            if block is own:
                yield from (entry for other, entry in block.entries.items() if other != key)
            elif block.entries:
                yield block.joined()

    def _fill(self, entries: Iterable[tuple[str, bytes]]) -> None:
        self._blocks: list[_Block] = []
        self._block_of: dict[str, _Block] = {}
        for key, entry in entries:
            self.add(key, entry)
