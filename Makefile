# make demo      the whole pipeline on this machine, fed with weeks of customers, then live traffic; Ctrl-C ends it
# make test      lint, types, import contracts, tests
# make test-fast in under a minute: lint, and the tests that need neither servers nor a browser
# make converge  streamed equals batch while processes are killed; make converge-kafka: on Apache Kafka itself
# make bench     speed, beside what others reach
# Each sets up .venv by itself; needed are python3 (3.11 or newer), python3-venv, make, git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
PYTEST_ARGS ?=
UV ?= uv

.PHONY: demo test test-fast converge converge-kafka bench reference lock browser
.DELETE_ON_ERROR:

# the tests start hundreds of processes; each would compile all of it again
unexport PYTHONDONTWRITEBYTECODE

demo: $(VENV)/.ready-to-run
	@$(BIN)/desireline up --demo $(DEMO_ARGS)

test: $(VENV)/.ready-to-test browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

# 50 examples of what is generated, in place of 300
test-fast: $(VENV)/.ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	HYPOTHESIS_PROFILE=dev PROTOCOL_SEEDS=300 $(BIN)/pytest --numprocesses 2 -m "not slow" $(PYTEST_ARGS)

# CONVERGE_SEED repeats a run, CONVERGE_SECONDS and CONVERGE_CUSTOMERS make it longer and larger
converge: $(VENV)/.ready-to-test
	@$(BIN)/python -m tests.converge

# needs Java 17 or newer and Maven
converge-kafka: $(VENV)/.ready-to-test
	@$(BIN)/python -m tests.converge --kafka

bench: $(VENV)/.ready-to-run
	$(BIN)/python -m benchmarks

reference: $(VENV)/.ready-to-run
	$(BIN)/python -m desireline.reference > docs/reference.md

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "desireline needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Say PYTHON=python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "This Python makes no virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# pip compiles on one core; what does not compile is meant for another Python, and nothing imports it
COMPILE = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true

# what tests need holds all that running needs, so each can be first
$(VENV)/.ready-to-run: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(COMPILE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-to-test: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(COMPILE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.ready-to-run

# the pages are looked at with a real browser
browser: $(VENV)/.ready-to-test
	@if [ -n "$$DESIRELINE_BROWSER" ] || command -v chromium >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -q -y --no-install-recommends chromium; \
	elif sudo -n true 2>/dev/null; then sudo apt-get update -q && sudo apt-get install -q -y --no-install-recommends chromium; \
	else $(BIN)/playwright install chromium; fi \
	|| { echo "The tests of the pages need a browser. Install chromium, or name one in DESIRELINE_BROWSER." >&2; exit 1; }

# LOCK_ARGS=--upgrade takes newer versions, too. --universal: one file for every platform; no address of a registry is recorded
LOCK = $(UV) pip compile --quiet $(LOCK_ARGS) --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 pyproject.toml

lock:
	$(LOCK) --group build -o requirements.lock
	$(LOCK) --group dev -c requirements.lock -o requirements-dev.lock
