# `make run` and `make test` set up everything they need; the second time that costs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt

.PHONY: help run ui test test-slow coverage figures lint hooks wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.run  ## the whole pipeline, watched by Prefect
	@$(BIN)/python -m flows run

ui: $(VENV)/.run  ## Prefect's pages on this machine
	@$(BIN)/python -m flows ui

test: $(VENV)/.dev  ## the quick tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(COVERAGE)

test-slow: $(VENV)/.dev  ## every test, also the ones that take minutes
	@$(BIN)/python -m pytest -q -m ''

coverage: $(VENV)/.dev  ## the quick tests, then the lines that none of them runs
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --cov --cov-report=term-missing

figures: $(VENV)/.dev  ## sizes and words of the code, with the places over a limit
	@$(BIN)/python -m tests.house.figures

lint: $(VENV)/.dev  ## style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

hooks: $(VENV)/.dev  ## run the linters before each commit
	@$(BIN)/pre-commit install

wheel: $(BIN)/python  ## the library for pip, in dist/
	$(BIN)/python -m pip --disable-pip-version-check wheel -q --no-deps --wheel-dir dist .

clean:  ## what the stages wrote; DVC's cache and the environment stay
	rm -rf data/ingest data/validate data/resize data/organize data/train data/validate-sample data/evaluate

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 run")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (once, some minutes)"
	$(PIP) -e '.[flows]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[dev]'
	@touch $@
