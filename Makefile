# Everything from nothing but python3: `make run` shows the project, `make test` tests it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test slow check lint notebooks bench clean

run: .venv/run.installed  ## every section in its quick form, and a page with all pictures
	$(BIN)/tf-examples run all --quick --report report.html

test: .venv/dev.installed  ## the tests, minutes
	$(BIN)/python -m pytest -n 2

slow: .venv/dev.installed  ## what takes longer: every notebook, the mutants, killed processes
	$(BIN)/python -m pytest -m slow

lint: .venv/dev.installed  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test  ## what must be green before a change lands

notebooks: .venv/dev.installed  ## builds and executes every notebook from its module
	$(BIN)/python -m tf_examples._notebooks

bench: .venv/dev.installed  ## prints ratios; never part of pass or fail
	$(BIN)/python tests/benchmarks/bench_loops.py
	$(BIN)/python -m tests.benchmarks.bench_optimizers
	$(BIN)/python -m tests.benchmarks.bench_grading

clean:  ## removes the virtual environment and every cache
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis report.html

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "tf-examples needs Python 3.11, 3.12 or 3.13; name one, as in: make run PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/run.installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

.venv/dev.installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ .venv/run.installed
