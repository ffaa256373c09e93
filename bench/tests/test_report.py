from rich.console import Console

from bench.limit import Feed
from bench.node_workloads import NodesAdmissions, NodesQuiet
from bench.report import WIDTH, print_report
from bench.results import Outcome, Results
from bench.workloads import Workload


def _report(workload: Workload, alone: dict[str, float], nodes: dict[str, float], *, targets: bool = True) -> str:
    results = Results([workload], ["ours", "ours-two-nodes"], 1, Feed(1, 1))
    results.outcomes[workload.name] = {"ours": Outcome([alone]), "ours-two-nodes": Outcome([nodes])}
    console = Console(width=WIDTH)
    with console.capture() as capture:
        print_report(console, results, targets=targets)
    return capture.get()


def test_joins_of_two_nodes_are_a_share_of_those_of_one() -> None:
    report = _report(NodesAdmissions(), {"joins": 5000, "per_second": 1}, {"joins": 2250, "per_second": 1, "nats": 80})
    assert "joins per CPU-second: 0.45 of those of ours (target: 0.4 or more)" in report


def test_time_to_the_other_node_is_told_by_what_it_is_more() -> None:
    report = _report(NodesQuiet(), {"p50": 1.5, "p99": 3, "deliveries": 1}, {"p50": 2.25, "p99": 9, "deliveries": 1})
    assert "p50, ms: +0.75 to ours (target: +5 or less)" in report


def test_a_quick_run_has_no_targets() -> None:
    sample = {"p50": 1.5, "p99": 3.0, "deliveries": 1.0}
    assert "target" not in _report(NodesQuiet(), sample, sample, targets=False)
