# The project's acts. Everything is set up inside .venv/; on a fresh machine only make and a
# Python that the README names are needed. PYTHON names the interpreter; without it scripts/setup.sh finds one.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?=
BIN := .venv/bin
UV := .tools/uv/bin/uv
COMPILE := $(UV) pip compile --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header -q

.PHONY: help demo serve test lint lint-pyright lint-others bench fuzz mutants docs clean lock setup setup-dev setup-tests cometbft skewed-cometbft test-engines

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo "Every target sets up what it needs in .venv/ and .tools/ of this folder. Outside it only uv and Go keep what they"
	@echo "fetched, each in its cache, and the tests need more:"
	@scripts/setup_system.sh --plan

demo: setup  ## run the whole Bank-Tax Interaction on 200 synthetic taxpayers
	$(BIN)/shuiqiao demo

serve: setup  ## start a bureau, three banks and a regulator as five servers on this machine; stop: shuiqiao sandbox down
	$(BIN)/shuiqiao sandbox up

test: setup-tests lint skewed-cometbft  ## set up everything and pass all checks and tests
	$(BIN)/pytest -n 3 --dist worksteal

test-long: setup-tests  ## run the long forms of tests: hundreds of kills in a story, 25 requests for each route
	SHUIQIAO_TEST_LONG=1 $(BIN)/pytest tests/integration/sandbox/test_story_over_servers.py \
		tests/integration/sandbox/test_story_in_one_process.py tests/integration/api/test_openapi.py \
		tests/integration/sandbox/test_servers.py

test-engines: setup-dev  ## run the consensus tests against every CometBFT version that is supported
	scripts/install_cometbft.sh v0.38.25 v0.39.4 v0.40.0
	scripts/build_skewed_cometbft.sh v0.38.25 v0.39.4 v0.40.0
	failed=0; for version in v0.38.25 v0.39.4 v0.40.0; do \
		SHUIQIAO_COMETBFT_VERSION=$$version $(BIN)/pytest tests/integration/ledger/engine/cometbft tests/faults/ledger/engine/cometbft || failed=1; \
	done; exit $$failed

lint: setup-dev  ## style, types, import layers, dead code, dependencies; installs nothing from Debian
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint-pyright lint-others

# Two at once: each reads the whole tree, and the types take longest.
lint-pyright:
	$(BIN)/pyright --warnings
lint-others:
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry src

mutants: setup-dev  ## change rules one at a time and see that a test notices (MODULES="receipts members ...")
	$(BIN)/python scripts/mutants.py $(MODULES)

bench: setup cometbft  ## measure speed and memory; figures as JSON on standard output
	$(BIN)/shuiqiao bench anchor --records 1000000 --suite intl --json
	$(BIN)/shuiqiao bench ledger --suite intl --json
	$(BIN)/shuiqiao bench ledger --suite gm --json
	$(BIN)/shuiqiao bench receipt --json
	$(BIN)/shuiqiao bench network --suite intl --json
	$(BIN)/shuiqiao bench network --suite gm --json
	$(BIN)/shuiqiao bench invoices --json

SECONDS ?= 600
fuzz: setup-dev  ## fuzz every reader of outside bytes, each for SECONDS (600); faults are left in tests/fuzz/crash-*
	$(BIN)/python tests/fuzz/run.py $(SECONDS) $(TARGETS)

docs: setup  ## write the reference pages that are generated from the code
	$(BIN)/python scripts/write_reference.py

clean:  ## remove everything that was set up or made
	rm -rf .venv .tools build dist demo-out demo-out-* .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache

setup: .venv/.base
setup-dev: .venv/.dev
# Without Go there is no CometBFT: the tests that need it say so and are skipped. In CI that is a failure.
setup-tests: setup-dev
	@scripts/install_cometbft.sh v0.39.4 || [ "$${CI:-}" != true ]
	@scripts/setup_system.sh

cometbft:
	@scripts/install_cometbft.sh v0.39.4

skewed-cometbft: setup-tests
	@scripts/build_skewed_cometbft.sh v0.39.4

.venv/.base: locks/base.txt locks/installer.txt pyproject.toml scripts/setup.sh scripts/install_locked.sh
	@PYTHON=$(PYTHON) scripts/setup.sh base

.venv/.dev: locks/dev.txt locks/base.txt locks/installer.txt pyproject.toml scripts/setup.sh scripts/install_locked.sh
	@PYTHON=$(PYTHON) scripts/setup.sh dev

lock: setup  ## resolve the dependencies anew into the hash-pinned lock files (UPGRADE=--upgrade for newer ones)
	$(COMPILE) $(UPGRADE) locks/installer.in -o locks/installer.txt
	$(COMPILE) $(UPGRADE) --override locks/overrides.in pyproject.toml --group build -o locks/base.txt
	$(COMPILE) $(UPGRADE) --override locks/overrides.in pyproject.toml --extra privacy --group build \
		-c locks/base.txt -o locks/privacy.txt
	$(COMPILE) $(UPGRADE) --override locks/overrides.in pyproject.toml --extra mpc --group build \
		-c locks/base.txt -o locks/mpc.txt
	$(COMPILE) $(UPGRADE) --override locks/overrides.in pyproject.toml --group build --group test --group lint \
		-c locks/mpc.txt -o locks/dev.txt
