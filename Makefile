PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install run demo network test pictures bench hostile soak chaos autobahn check format lock matrix clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Set up the environment in .venv

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "wg-orchestrator needs Python 3.10 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## Serve on port 8000
	@exec $(BIN)/wg-orchestrator serve

demo: install ## Show a service, and a few peers that join and leave, on one screen
	@exec $(BIN)/wg-orchestrator demo

network: install ## Show machines in public and behind two NATs that ping each other (Linux, root)
	@exec $(BIN)/python -m harness.network_demo $(NETWORK)

test: install ## Run all tests, some at a time
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

pictures: install ## Make the pictures of docs/operators.md anew (needs Chromium)
	PICTURES=docs $(BIN)/pytest tests/browser/test_pictures.py

bench: $(VENV)/.bench ## Measure it and other servers that do the same job (more than an hour; BENCH=… for a part)
	$(BIN)/python -m bench $(BENCH)

$(VENV)/.bench: $(INSTALLED) requirements/bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

hostile: install ## Attack it, and measure how other peers are affected (five minutes; HOSTILE=… for a part)
	$(BIN)/python -m bench.hostile $(HOSTILE)

soak: install ## Look for leaks, with a million joins and leaves in one process (five minutes; SOAK=… for fewer)
	$(BIN)/python -m bench.hostile --scenario soak --json bench/results/soak.json $(SOAK)

chaos: install ## Kill, stop and cut off a cluster's processes, and lose its store, under load (CHAOS=… for options)
	$(BIN)/python -m tests.cluster $(CHAOS)

autobahn: install ## Run Autobahn's RFC 6455 conformance suite (needs Python 2.7)
	$(BIN)/python tests/autobahn/run.py

check: install ## Check format, lint, types, architecture and documents
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_documents.py

format: install ## Format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## Renew requirements/*.txt from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		--upgrade pyproject.toml --extra nats --extra oidc --output-file requirements/run.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		--constraint requirements/run.txt pyproject.toml --extra nats --extra oidc --extra agent --group dev --output-file requirements/dev.txt
	uv pip compile --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
		--constraint requirements/dev.txt pyproject.toml --extra nats --extra oidc --extra agent --group bench --output-file requirements/bench.txt

matrix: ## Run the tests on each Python that uv finds, and once with the oldest dependencies (needs uv)
	.ci/matrix

clean: ## Remove what the other targets have made
	rm -rf $(VENV) bench/results .matrix .autobahn .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
