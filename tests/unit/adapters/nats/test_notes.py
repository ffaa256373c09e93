"""Notes that nodes tell each other, without a server."""

from typing import Any

import pytest

from wg_orchestrator.adapters.nats.notes import Notes
from wg_orchestrator.domain.nodes import Note


def heard_by(notes: Notes) -> list[tuple[Any, ...]]:
    told: list[tuple[Any, ...]] = []

    def hear(note: Note) -> None:
        told.append((note.by, note.number, note.kind, note.node, note.tenant_id, note.cause))

    notes.hear(hear)
    return told


def test_a_note_is_heard_here_at_once_and_by_others_when_it_is_taken() -> None:
    here, there = Notes("p1", "a"), Notes("p2", "b")
    told, elsewhere = heard_by(here), heard_by(there)
    here.tell("refused", "a", "acme", "bad token")
    assert told == [("p1", 1, "refused", "a", "acme", "bad token")]
    for said in here.take():
        there.heard(said)
        here.heard(said)  # Its own comes back.
    assert elsewhere == told
    assert here.take() == []


def test_of_the_nodes_that_are_up_the_first_one_tells_what_has_become_of_the_others() -> None:
    first, second = Notes("p1", "a"), Notes("p2", "b")
    told, silent = heard_by(first), heard_by(second)
    for notes, others in ((first, {"b"}), (second, {"a"})):
        notes.see({*others, "c"}, set())
        notes.see(others, {"c"})
        notes.see(others, {"c"})
        notes.see({*others, "c"}, set())
    assert [(kind, node) for _, _, kind, node, _, _ in told] == [("node_down", "c"), ("node_up", "c")]
    assert silent == []
    second.see({"c"}, {"a"})
    assert [(kind, node) for _, _, kind, node, _, _ in silent] == [("node_down", "a")]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "joined"},
        {"process": "a|b"},
        {"process": ""},
        {"number": "x"},
        {"at": None},
        {"tenant": 7},
        {"cause": []},
    ],
    ids=str,
)
def test_what_is_no_note_is_not_heard(change: dict[str, Any]) -> None:
    notes = Notes("p1", "a")
    told = heard_by(notes)
    said = {"process": "p2", "number": 1, "kind": "refused", "at": 1, "node": "b", "tenant": None, "cause": "policy"}
    with pytest.raises((ValueError, TypeError)):
        notes.heard({**said, **change})
    assert told == []
    notes.heard(said)
    assert len(told) == 1
