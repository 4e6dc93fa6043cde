# Every command of the house. `make` alone prints this list.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
READY := .venv/.ready
STAMP := .venv/.setup

# Bytecode that is kept is made once, and not by every process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

# Two workers on two cores, one suite at a time. Tests with real servers stay together by the parts of tests/together.py.
BY_PART := -n 2 --dist loadfile --no-loadscope-reorder
LIGHT := -n 2 tests/unit tests/contract tests/simulation
REAL := $(BY_PART) tests/e2e tests/integration

.PHONY: help ready setup system demo stack images test test-all slices slice check format lint types contracts rules fix unit contract integration e2e simulation matrix vendors-smoke bench docs man docs-site dist lock vendor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ready: $(READY) ## the virtual environment with what PanCode needs to run, from hash-locked requirements

setup: $(STAMP) ## the same with what its tests need (instant when nothing changed)

$(READY): requirements/tools.txt requirements/coordinator.txt pyproject.toml .ci/setup
	@.ci/setup
	@touch $@

$(STAMP): $(READY) requirements/lock.txt
	@.ci/setup tests
	@touch $@

system: ## the system programs that the tests use (apt-get as root, else says what is missing)
	@.ci/system

demo: ready ## a whole fleet on this machine: up, dispatch, kill, recover, verify, clean up
	@$(BIN)/pancode fleet demo

stack: setup system ## the services of docker-compose.yml as plain processes (as root), one run through all of them
	@$(BIN)/python -m tests.stack

images: setup ## the images of deploy/Containerfile by Debian's buildah (as root; minutes), each tried on its read-only root
	@.ci/images

test: setup system ## what every change must pass: check, all quick tests, the journeys of tests/journeys.py
	@$(MAKE) -j 2 -O check
	@$(BIN)/python -m tests.clis.install gemini
	@.ci/tests "--chosen $(LIGHT)" "--chosen $(REAL)"

test-all: test ## everything: the same, then each slice that is not proven for these files, the stalest first
	@$(BIN)/python -m tests.slices run

slices: setup ## the slices of the other tests, the stalest first; STALEST=30 runs the stalest for 30 minutes
	@$(BIN)/python -m tests.slices $(if $(STALEST),run --minutes $(STALEST))

slice: setup system ## one slice: make slice NAME=faults
	@$(BIN)/python -m tests.slices run $(NAME)

# Separate targets, so that `make -k check` shows everything that is wrong at once.
check: format lint types contracts rules ## format, lint, types, import contracts, architecture tests

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports --no-logo

rules: setup
	$(PYTEST) -q --chosen tests/architecture

fix: setup ## format, and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: setup ## tests/unit: no sockets, no sleep
	$(PYTEST) -n 2 tests/unit

contract: setup ## tests/contract: one suite per port, on memory and on the real adapter
	$(PYTEST) -n 2 tests/contract

simulation: setup ## tests/simulation: control plane and node under one seeded scheduler
	$(PYTEST) -n 2 tests/simulation

integration: setup system ## tests/integration: real Valkey, RQ, git, SSH in this process
	$(PYTEST) $(BY_PART) tests/integration

e2e: setup system ## tests/e2e: real SSH hosts, driven through the command line
	@.ci/tests --minutes 120 "$(BY_PART) tests/e2e"

matrix: setup system ## what hostile models can do in the real programs, tried and written anew (minutes)
	$(PYTEST) -n 2 tests/clis/test_matrix.py --write-evidence
	$(BIN)/python -m docs.generate

vendors-smoke: setup ## one real call to each vendor whose key is set in your shell, and to each local model server
	@$(BIN)/python -m tests.vendors_smoke

bench: setup system ## ratios against peers, in one run
	$(BIN)/python -m tests.bench

docs: setup ## write the reference pages from the code, check every link and command of the documents
	$(BIN)/python -m docs.generate
	$(PYTEST) -q tests/architecture/test_documents.py tests/architecture/test_reference.py tests/architecture/test_docs_run.py

man: setup ## the manual pages into build/man; `man -l build/man/man1/pancode.1` shows one
	$(BIN)/python -m docs.generate man build/man/man1

docs-site: setup ## the documents as a site in build/site; a dead link fails it
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs/site -d build/site-read . build/site
	@echo "build/site/index.html"

dist: setup ## the sdist, and the wheel made of it, into dist/; no network, the same bytes for the same commit
	@.ci/dist

lock: ## write requirements/*.txt again (UPGRADE=1 for the newest)
	@.ci/lock

vendor: ## copy the libraries of the web console from npm by exact version, with digests and licences
	@.ci/vendor

clean: ## remove the environment, caches and build output
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist var
	find pancode node_agent tests -name __pycache__ -type d -prune -exec rm -rf {} +
