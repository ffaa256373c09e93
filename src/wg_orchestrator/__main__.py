"""Where `wg-orchestrator` begins. What a command needs is loaded by that command."""

import os
import signal
import sys


def main() -> None:
    """Run the command that the arguments name."""
    if os.getpid() == 1:
        # The kernel drops what the first process of a container has no handler for. This one is here before anything
        # that takes its time to load, and until the command has one of its own.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    from wg_orchestrator.cli.main import main as run

    run(prog_name="wg-orchestrator")


if __name__ == "__main__":
    main()
