# What a person runs from a checkout; `make help` lists it. Everything else is the program: `.venv/bin/distil --help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Written last, with the checkout's path in it: what is installed there is whole, and belongs to this place.
STAMP := $(VENV)/.installed
# Lies there while pip works: where one is found, an installation was cut short, and is made anew instead of mended.
UNFINISHED := $(VENV)/.installing
# The first that runs; `make setup PYTHON=/path/to/python3.11` for another.
PYTHON ?= $(shell for name in python3.11 python3; do "$$name" -c '' 2>/dev/null && echo "$$name" && break; done)
PORT ?= 5000

# A checkout that was moved, or whose Python has gone, is installed again whatever the files' times say.
ifneq ($(shell [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -c '' 2>/dev/null && echo whole),whole)
.PHONY: $(STAMP)
endif

.PHONY: help setup demo test test-all cluster-test check same-results format ui clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv and install; again only when pyproject.toml or constraints.txt has changed

demo: setup  ## run the whole pipeline on the text and the teacher that come with it
	@$(BIN)/distil run demo

test: setup  ## the tests, but for the slow ones
	@$(BIN)/pytest -q

test-all: setup  ## all tests
	@$(BIN)/pytest -q -m ""

cluster-test: setup  ## a real two-node Ray on this machine: the doctor, a run undisturbed, one with a node killed
	@$(BIN)/python tests/cluster_run.py

check: setup  ## style, types and who imports whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy pipeline stages
	@$(BIN)/lint-imports --no-logo

same-results: setup  ## after a change of a stage's code that makes the very same results: tests/stages.json
	@$(BIN)/python tests/same_results.py

format: setup  ## put the code into its format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

ui: setup  ## MLflow on the runs made here; PORT=5000
	@$(BIN)/distil ui --port $(PORT)

clean:  ## remove .venv, caches and builds; runs/ stays
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@if [ -e $(UNFINISHED) ] || { [ -e $(STAMP) ] && [ "$$(cat $(STAMP))" != "$(CURDIR)" ]; } \
	  || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf $(VENV); fi
	@if [ ! -e $(VENV) ]; then \
	  [ -n "$(PYTHON)" ] || { echo "Python 3.11 is needed and none was found: install it, or name one with" \
	    "PYTHON=/path/to/python3.11." >&2; exit 2; }; \
	  $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { echo "Python 3.11 or 3.12" \
	    "is needed and $(PYTHON) is $$($(PYTHON) -V 2>&1): install python3.11, or name one with" \
	    "PYTHON=/path/to/python3.11." >&2; exit 2; }; \
	  echo "making $(VENV) with $$($(PYTHON) -V)"; \
	  $(PYTHON) -m venv $(VENV); \
	fi
	@echo "installing the versions of constraints.txt into $(VENV); this takes some minutes and says nothing meanwhile"
	@rm -f $(STAMP); touch $(UNFINISHED)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@rm $(UNFINISHED); echo "$(CURDIR)" > $(STAMP)
	@echo "installed"
