"""Where `wg-orchestrator` begins. What a command needs is loaded by that command."""

from wg_orchestrator.cli.main import main

if __name__ == "__main__":
    main(prog_name="wg-orchestrator")
