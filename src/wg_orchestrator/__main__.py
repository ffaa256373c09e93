from wg_orchestrator.cli.cli import main

main(prog_name="wg-orchestrator")
