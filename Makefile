# Every check has one definition, here; people and .ci/run call the same.
# HOST and PORT are passed on when they are given, so that a .env or HEADWATER_PORT also works.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
LOCKED := pyproject.toml constraints.txt
ADDRESS := $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help serve chat test e2e soak faults bench format format-check lint types docs check clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.service  ## fetch what is missing, then serve: make serve PORT=9000
	@exec $(BIN)/headwater serve --pull $(ADDRESS)

chat: $(VENV)/.service  ## talk to the server that `make serve` started
	@exec $(BIN)/headwater chat

test: $(VENV)/.test  ## the tests, with the real default model
	@$(BIN)/headwater models pull
	@$(PYTEST)

e2e: $(VENV)/.develop  ## a real server process, curl and a real browser (needs chromium and curl)
	@$(BIN)/headwater models pull
	@$(PYTEST) -m e2e

soak: $(VENV)/.develop  ## minutes of streams, cuts, cancels and reloads, counted token by token; then killed servers and workers
	@$(BIN)/python -m bench.soak
	@$(BIN)/python -m bench.gate
	@$(BIN)/python -m bench.flat --seconds 600
	@$(BIN)/python -m bench.overload
	@$(BIN)/python -m bench.reload
	@$(BIN)/python -m bench.reload --model table
	@$(PYTEST) -m soak

faults: $(VENV)/.develop  ## plant twelve faults in copies of the tree; each must turn the tests red
	@$(BIN)/python -m bench.faults

bench: $(VENV)/.develop  ## our speed and, in the same run, that of the peers
	@$(BIN)/headwater models pull
	@$(BIN)/python -m bench.streams
	@$(BIN)/python -m bench.startup
	@$(BIN)/python -m bench.features
	@$(BIN)/python -m bench.embed
	@$(BIN)/python -m bench.cache

format: $(VENV)/.develop  ## write the code in the house's layout
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --select I --fix --quiet .

format-check: $(VENV)/.develop
	@$(BIN)/ruff format --check .

lint: $(VENV)/.develop  ## ruff's checks
	@$(BIN)/ruff check .

types: $(VENV)/.develop  ## mypy, strict
	@$(BIN)/mypy

docs: $(VENV)/.develop  ## write docs/settings.md from the code
	@$(BIN)/python -m service.settings_doc > docs/settings.md

check: format-check lint types test e2e  ## everything that .ci/run checks

clean:  ## remove what was built here; models and data stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per set of packages: a second start does not run pip. One mark stands for all that has to hold before.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headwater needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet --upgrade --constraint constraints.txt pip

$(VENV)/.service: $(LOCKED) | $(BIN)/python
	@echo "Installing Headwater into $(VENV); the first time takes a few minutes"
	@$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(LOCKED) | $(BIN)/python
	@echo "Installing Headwater and its test tools into $(VENV)"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[test,otel]'
	@touch $@ $(VENV)/.service

$(VENV)/.develop: $(LOCKED) | $(BIN)/python
	@echo "Installing Headwater and its development tools into $(VENV)"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[test,otel,e2e,lint]'
	@touch $@ $(VENV)/.service $(VENV)/.test
