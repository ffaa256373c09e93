from bench.client import Client
from bench.frames import TEXT
from bench.hostile.traffic import join_to_notice
from bench.identity import Identity, identity


def _server_frame(payload: bytes) -> bytes:
    return bytes((0x80 | TEXT, len(payload))) + payload


def _joined(who: Identity) -> bytes:
    return _server_frame(f'{{"display_name":"{who.name}","public_key":"{who.key}","virtual_ip":"100.64.0.9"}}'.encode())


_LEFT = _server_frame(b'{"removed_peer":"100.64.0.9"}')


def _came(number: int, asked_at: float) -> Client:
    client = Client(identity(number), "tenant-0")
    client.asked_at = asked_at
    return client


def _watcher(*pieces: tuple[float, bytes]) -> Client:
    watcher = Client(identity(1), "tenant-0", sampled=True)
    watcher.stamps = [at for at, _ in pieces]
    watcher.raw = [piece for _, piece in pieces]
    return watcher


def test_a_notice_counts_from_when_its_peer_asked_to_join() -> None:
    watcher = _watcher((10.5, _joined(identity(7)) + _LEFT), (12.0, _joined(identity(8))))
    assert list(join_to_notice(watcher, [_came(7, 10.0), _came(8, 11.0)])) == [(10.0, 0.5), (11.0, 1.0)]


def test_a_notice_is_there_when_its_last_byte_is() -> None:
    notice = _joined(identity(7))
    watcher = _watcher((10.0, notice[:-1]), (11.0, notice[-1:] + _LEFT[:4]), (12.0, _LEFT[4:]))
    assert list(join_to_notice(watcher, [_came(7, 9.0)])) == [(9.0, 2.0)]


def test_one_who_comes_twice_is_told_of_twice() -> None:
    watcher = _watcher((2.0, _joined(identity(7)) + _LEFT), (5.0, _joined(identity(7))))
    assert list(join_to_notice(watcher, [_came(7, 1.0), _came(7, 3.0)])) == [(1.0, 1.0), (3.0, 2.0)]


def test_members_that_are_not_asked_for_do_not_count() -> None:
    watcher = _watcher((2.0, _joined(identity(3))))
    assert list(join_to_notice(watcher, [_came(7, 1.0)])) == []
