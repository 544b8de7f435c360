# `make demo` and `make test` need nothing but Python 3.11 or newer: they make their own environment in $(VENV).

VENV ?= .venv
BIN := $(VENV)/bin
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
NEWEST := $(VENV)-newest
PYTEST := PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 MPLBACKEND=Agg \
	QEXEC_NEWEST_CLIENT="$(abspath $(NEWEST))/bin/python" pytest -n 2 --dist worksteal

unexport PYTHONDONTWRITEBYTECODE  # uncompiled, `import pennylane` takes 9 seconds in every process

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-fast lint docs bench clean postgresql browser newest

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: $(VENV)/.stamp-run  ## the energy of H2 over three simulators, with a picture
	$(BIN)/qexec demo

test: lint docs postgresql browser newest  ## everything: lint, docs, all tests
	$(PYTEST)

test-fast: $(VENV)/.stamp-dev  ## the tests that take seconds
	$(PYTEST) -m "not slow and not integration"

postgresql: $(VENV)/.stamp-dev  # tests start a server of their own: installed, or from the package pgserver
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	|| $(BIN)/python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("pgserver"))' \
	|| { apt-get update && apt-get install --yes --no-install-recommends postgresql; } \
	|| { echo "The tests need PostgreSQL. Install it: apt install postgresql, or brew install postgresql."; exit 1; }

browser: $(VENV)/.stamp-dev  # tests look at the dashboard with it
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || ls "$$QEXEC_BROWSER" >/dev/null 2>&1 \
	|| { apt-get update && apt-get install --yes --no-install-recommends chromium; } \
	|| $(BIN)/playwright install chromium \
	|| { echo "The tests need Chromium. Install it, and name its program in QEXEC_BROWSER."; exit 1; }

newest: $(NEWEST)/.stamp  # the newest client of IBM, which tests run beside the server

lint: $(VENV)/.stamp-dev  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.stamp-dev  ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build/html

bench: $(VENV)/.stamp-dev  ## every benchmark, into docs/benchmarks.md and a picture
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -W ignore benchmarks/everything.py

clean:  ## remove the environment and everything that was built
	rm -rf .venv .venv-newest build dist docs/_build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-run: pyproject.toml
	$(environment)
	$(BIN)/pip install --editable .
	touch $@

$(VENV)/.stamp-dev: pyproject.toml
	$(environment)
	$(BIN)/pip install --editable . --group dev
	touch $(VENV)/.stamp-run $@

$(NEWEST)/.stamp: tests/newest/requirements.txt
	@test -x $(NEWEST)/bin/pip || "$(PYTHON)" -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --requirement $<
	touch $@

define environment
@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not. Install it, or name it: make PYTHON=/path/to/python3.12"; \
	exit 1; }
@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
@$(BIN)/python -m pip install --quiet 'pip>=25.1'
endef
