from wg_orchestrator.cli import main

main(prog_name="wg-orchestrator")
