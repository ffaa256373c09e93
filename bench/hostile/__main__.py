from bench.hostile.cli import main

main()
