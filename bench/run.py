import gc
from collections.abc import Callable, Sequence
from functools import partial

from bench.contenders import CONTENDERS
from bench.errors import BrokenPromise, NotReached
from bench.limit import send_limit, test_counting
from bench.long_workloads import Growth
from bench.results import Outcome, Results
from bench.stage import Stage
from bench.workloads import Workload

Note = Callable[[str], None]


def measure(
    workloads: Sequence[Workload], servers: Sequence[str], repeats: int, budget: float, *, quick: bool, note: Note
) -> Results:
    """Run each workload `repeats` times on each server. The servers take turns, so that a disturbance of the machine
    affects all of them.

    `budget` is how many seconds a server may take to be filled. `note` is called with what is being done. If a server
    breaks a promise, or does not get far enough, it is not tried again in that workload. Ctrl-C ends the run; it then
    returns the figures so far.
    """
    gc.disable()  # It collects between runs instead, when no server waits for this process.
    note("proving that the load generator counts right, and fast enough")
    results = Results(list(workloads), list(servers), repeats, test_counting(0.1))
    for sockets in _socket_counts(workloads):
        note(f"the machine's own limit, {sockets:,} sockets")
        results.limits[sockets] = [
            send_limit(sockets, 0.1 if quick else 1.0).sent_per_cpu_second for _ in range(repeats)
        ]
    try:
        for workload in workloads:
            _take_turns(workload, results, budget, note)
    except KeyboardInterrupt:
        results.stopped = True
    return results


def _take_turns(workload: Workload, results: Results, budget: float, note: Note) -> None:
    outcomes = {server: Outcome() for server in results.servers if server in workload.contenders}
    if outcomes:
        results.outcomes[workload.name] = outcomes
    for repeat in range(1 if workload.repeats_itself else results.repeats):
        for server, outcome in outcomes.items():
            if not outcome.failure and not outcome.not_reached:
                where = f"{workload.name}, {server}, {repeat + 1} of {results.repeats}: "
                _run(workload, server, results.repeats, budget, outcome, partial(_note_at, note, where))


def _note_at(note: Note, where: str, text: str) -> None:
    note(where + text)


def _run(workload: Workload, name: str, repeats: int, budget: float, outcome: Outcome, note: Note) -> None:
    note("starting")
    try:
        with CONTENDERS[name]() as server:
            crowd = workload.crowd(server.ports)
            try:
                # One by one, so that the samples before a fault are kept.
                for sample in workload.run(Stage(server, crowd, budget, note), repeats):
                    outcome.samples.append(sample)
            except (BrokenPromise, OSError) as error:
                outcome.failure = server.explain(str(error))
            except NotReached as short:
                outcome.not_reached = str(short)
            finally:
                outcome.refused += crowd.refused
                crowd.close()
    except BrokenPromise as error:
        outcome.failure = str(error)
    gc.collect()


def _socket_counts(workloads: Sequence[Workload]) -> list[int]:
    counts = {workload.sockets for workload in workloads}
    for workload in workloads:
        if isinstance(workload, Growth):
            counts.update(workload.sizes)
    return sorted(counts - {0})
