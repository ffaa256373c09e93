from ipaddress import ip_address

from wg_orchestrator.agent.reports import Reports
from wg_orchestrator.domain.path_kind import PathKind

ONE, TWO, THREE = (ip_address(f"100.64.0.{number}") for number in (1, 2, 3))
LAN, DIRECT, NONE = PathKind.LAN, PathKind.DIRECT, PathKind.NONE


def test_only_what_the_service_does_not_know_is_news() -> None:
    reports = Reports()
    assert reports.news(5, {ONE: LAN, TWO: NONE}) == {ONE: LAN, TWO: NONE}
    reports.told(5, {ONE: LAN, TWO: NONE}, 100.0)
    assert reports.at == 100.0
    assert reports.news(5, {ONE: LAN, TWO: NONE}) is None
    assert reports.news(6, {ONE: LAN, TWO: NONE}) == {}
    assert reports.news(5, {ONE: LAN, TWO: DIRECT}) == {TWO: DIRECT}
    reports.begin_anew()
    assert reports.news(5, {ONE: LAN, TWO: NONE}) == {ONE: LAN, TWO: NONE}


def test_of_a_peer_that_has_left_nothing_is_known_when_it_comes_back() -> None:
    reports = Reports()
    reports.told(5, {ONE: LAN}, 100.0)
    assert reports.news(5, {}) is None
    assert reports.news(5, {ONE: LAN}) == {ONE: LAN}


def test_of_many_those_that_are_reached_come_first() -> None:
    many = {ip_address(f"100.64.1.{number}"): NONE for number in range(100)}
    news = Reports().news(5, {**many, THREE: DIRECT})
    assert news is not None
    assert len(news) == 64
    assert next(iter(news.items())) == (THREE, DIRECT)


def test_on_another_connection_the_revision_is_news_too() -> None:
    reports = Reports()
    reports.told(5, {}, 100.0)
    assert reports.news(5, {}) is None
    reports.begin_anew()
    assert reports.news(5, {}) == {}
