# Two commands: `make run` brings the broker up, `make test` passes its tests. Both install what they need.
# Only python3.11 with venv, and make, have to be there.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# 3.11 first: the wheels of the embedded services exist for it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=
SCRIPT ?=
PEERS := .venv-peers
WHEELS := build/wheel
DIR ?=
PART ?=
export SCRIPT ARGS

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup run demo test import peers mutations bench-market bench-live bench-dashboard bench-matching bench-training bench-gpu lint web e2e schema wheel lock clean-state

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(BIN)/python ## install everything into .venv, or nothing when nothing changed
	@wanted=$$(sha256sum < requirements.txt); \
	if [ "$$wanted" != "$$(cat $(VENV)/.requirements 2>/dev/null)" ]; then \
	    echo "installing requirements.txt"; \
	    $(BIN)/python -m pip install --quiet -r requirements.txt; \
	    echo "$$wanted" > $(VENV)/.requirements; \
	fi
	@wanted=$$($(BIN)/python --version; \
	    find frontend/client workloads/node offers/gpus.py offers/data/chips.csv \
	    offers/matching/{__init__,chips,estimate,memory,profile,roofline}.py -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); \
	wanted=$$(sha256sum <<< "$$wanted"); \
	if [ "$$wanted" != "$$(cat $(VENV)/.client 2>/dev/null)" ] || ! ls $(WHEELS)/*.whl > /dev/null 2>&1; then \
	    $(MAKE) wheel; \
	    $(BIN)/python -m pip install --quiet --no-deps --no-index --force-reinstall $(WHEELS)/gpuyard-*.whl; \
	    echo "$$wanted" > $(VENV)/.client; \
	fi

	@wanted=$$(find frontend/web/dist -type f -not -name '*.gz' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); \
	if [ "$$wanted" != "$$(cat build/dashboard 2>/dev/null)" ]; then \
	    $(BIN)/python -m servestatic.compress --quiet --no-brotli frontend/web/dist; \
	    mkdir -p build && echo "$$wanted" > build/dashboard; \
	fi

$(BIN)/python:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	    echo "GPUYard needs Python 3.11 or newer; found: $$("$(PYTHON)" --version 2>&1 || echo none)." >&2; \
	    echo "Install it (Debian: apt install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	fi
	@"$(PYTHON)" -m venv $(VENV) || { \
	    rm -rf $(VENV); \
	    echo "Python's venv module does not work (Debian: apt install python3-venv)." >&2; \
	    exit 1; \
	}

$(PEERS)/bin/python: | $(BIN)/python
	@$(BIN)/python -m venv $(PEERS)

run: setup ## bring the whole broker up on this machine; Ctrl-C stops it (EXAMPLE=0, GPUYARD_PORT, GPUYARD_HOME)
	@exec $(BIN)/python manage.py up

demo: setup ## tell the whole story once, a lost machine included (SCRIPT=path ARGS="...")
	@exec $(BIN)/python manage.py demo

# Most of a run is waiting for real processes, so two files of tests at a time; one file alone needs no second process.
test: setup ## run the tests beside a throw-away Postgres and Redis (ARGS="tests/local -k redis")
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m pytest $(or $(ARGS),-n 2 --dist loadfile)

import: setup ## load DIR/<provider>/vms.csv into a book of its own and say what became of every row (DIR=...)
	@exec $(BIN)/python manage.py import_catalogs $(DIR)

peers: setup $(PEERS)/bin/python ## prove the adapters with vendors' SDKs and moto, a line for each provider
	@wanted=$$(sha256sum < requirements-peers.in); \
	if [ "$$wanted" != "$$(cat $(PEERS)/.requirements 2>/dev/null)" ]; then \
	    echo "installing requirements-peers.in"; \
	    grep -v '^#' requirements-peers.in | while read -r line; do \
	        $(PEERS)/bin/python -m pip install --quiet "$$line" || exit 1; \
	    done; \
	    echo "$$wanted" > $(PEERS)/.requirements; \
	fi
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python tests/peers/report.py $(PEERS)/bin/python

mutations: setup ## spoil every provider's answers 10,000 times (half an hour)
	@MUTATIONS=10000 $(MAKE) test ARGS="tests/providers -q -k whatever_the_answers"

bench-market: setup ## measure the offer book; the last line is one JSON object
	@command -v wrk > /dev/null || { echo "wrk is missing (Debian: apt install wrk)" >&2; exit 1; }
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.bench_market

bench-live: setup ## measure the offer page at 100,000 offers; the last line is one JSON object
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.bench_live

# Playwright drives Debian's Chromium; its own browsers are not fetched.
$(VENV)/.e2e: requirements-e2e.in tests/e2e/package-lock.json | setup
	@command -v chromium > /dev/null || { echo "chromium is missing (Debian: apt install chromium)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet -r requirements-e2e.in
	@cd tests/e2e && npm ci --no-fund --no-audit --silent
	@touch $@

e2e: $(VENV)/.e2e ## drive the dashboard in a real browser before a real broker; pictures in build/e2e (ARGS="-k supplier", GPUYARD_PICTURES=1 renews docs/pictures)
	@GPUYARD_E2E=1 exec $(BIN)/python -m pytest $(if $(findstring tests/,$(ARGS)),,tests/e2e) $(ARGS)

bench-dashboard: $(VENV)/.e2e ## measure the offers' page in a browser, 100,000 offers; the last line is one JSON object
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.bench_dashboard

bench-matching: setup ## measure the matching engine; the last line is one JSON object (PART="judge hazard speed tick quote skypilot")
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.bench_matching $(PART)

bench-training: setup ## measure the training runtime; the last line is one JSON object (PART="loss hub wan recovery faults goodput")
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.bench_training $(PART)

bench-gpu: setup ## measure the training runtime on this machine's GPU (PART="check overhead placed loss")
	@exec $(BIN)/python -m tests.benchmarks.training_gpu $(PART)

proof: setup ## train 10 million parameters over three sites for 21 minutes; writes docs/proof.md and its picture
	@exec $(BIN)/python -m broker.local.testing -- $(BIN)/python -m tests.benchmarks.training_proof

lint: setup ## check style, types and the order of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

web: ## build the dashboard into frontend/web/dist, which is committed (needs Node 20)
	@cd frontend/web && npm ci --no-fund --no-audit --silent && npm run types && npm run check && npm test -- --silent && npm run build

schema: setup ## write docs/openapi.json, which the dashboard's and the client's types are checked against
	@$(BIN)/python manage.py spectacular --format openapi-json --validate --fail-on-warn \
	    | $(BIN)/python -m json.tool --sort-keys --indent 2 --no-ensure-ascii > docs/openapi.json.part
	@mv docs/openapi.json.part docs/openapi.json && echo "wrote docs/openapi.json"

wheel: $(BIN)/python ## build the package for people and hosts, which the broker serves
	@rm -rf $(WHEELS).part && mkdir -p $(WHEELS).part
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation -w $(WHEELS).part ./frontend/client
	@rm -rf $(WHEELS) && mv $(WHEELS).part $(WHEELS) && echo "built $$(ls $(WHEELS)/*.whl)"

# "+cpu" names a build, not a version: without it the pin fits whichever build the index of that machine has.
lock: $(BIN)/python ## write requirements.txt from what is installed and tested now
	@{ echo "# Made by \`make lock\` from requirements.in; what was installed when the tests last passed."; \
	   $(BIN)/python -m pip freeze --exclude gpuyard | sed 's/+cpu$$//'; } > requirements.txt.part
	@mv requirements.txt.part requirements.txt
	@wc -l requirements.txt

clean-state: ## forget all state of `make run` and `make demo` (not the installation)
	@for state in .yard .yard-demo; do \
	    [ -d "$$state" ] || continue; \
	    if [ -e "$$state/lock" ] && ! flock -n "$$state/lock" true; then \
	        echo "$$state is in use by process $$(cat "$$state/lock"): stop it first." >&2; exit 1; \
	    fi; \
	    if [ -s "$$state/postgres/elsewhere" ]; then rm -rf "$$(cat "$$state/postgres/elsewhere")"; fi; \
	    rm -rf "$$state"; \
	done
