from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from wg_orchestrator.adapters.websocket.roster import Roster


def entry(key: int) -> tuple[str, bytes]:
    return str(key), b"entry %d" % key


@fuzzed(200)
@given(st.integers(0, 200), st.lists(st.integers(0, 300), max_size=600))
def test_it_is_what_one_list_in_the_order_they_came_would_be(at_first: int, toggled: list[int]) -> None:
    roster, model = Roster(map(entry, range(at_first))), dict(map(entry, range(at_first)))
    for key, payload in map(entry, toggled):
        if model.pop(key, None) is None:
            model[key] = payload
            roster.add(key, payload)
        else:
            roster.remove(key)
        others = [payload for other, payload in model.items() if other != key]
        assert b",".join(roster.without(key)) == b",".join(others)


def test_one_change_leaves_all_other_blocks_joined() -> None:
    roster = Roster(map(entry, range(6400)))
    before = list(roster.without(""))
    roster.remove("700")
    after = list(roster.without(""))
    assert len(before) == len(after) == 100
    assert [one is other for one, other in zip(before, after, strict=True)].count(False) == 1


def test_most_of_them_gone_what_is_left_is_in_few_pieces() -> None:
    roster = Roster(map(entry, range(6400)))
    for number in range(6400):
        if number % 100:
            roster.remove(str(number))
    assert len(list(roster.without(""))) <= 4
