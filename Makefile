# Everything happens in .venv beside this file. `make help` lists the targets.

PYTHON ?= python3
VENV   ?= .venv
SHARED ?= $(or $(OFFSHELF_SHARED),../shared)
DATA   ?=
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Stamps: a target that is already done costs nothing, and a changed pin installs again.
CREATED   := $(VENV)/.created
INSTALLED := $(VENV)/.installed
DEVELOP   := $(VENV)/.installed-dev
PAGES     := $(VENV)/.installed-docs
# What the short extraction benchmark compares; the others compile for long or need peers.sh.
SHORT     := eager channels_last "offshelf fp32" "offshelf int8"

# A processor without AVX-512, as far as libraries and our own code can be told; the tests whose
# numbers depend on it.
HIDDEN := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell
HIDDEN_TESTS := $(addprefix tests/test_,engine.py engine_gradients.py engine_plan.py \
	engine_processor.py winograd.py winograd_int8.py precision.py heads_exact.py heads_fit.py heads_workers.py)

# Compiled tests are kept, so that workers and the commands that tests start find them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install develop demo quick test test-hidden test-real lint format check docs bench clean distclean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@echo "  PYTHON=python3.12 chooses the interpreter of a new .venv"

install: $(INSTALLED) ## create .venv with offshelf and the tested set of packages

develop: $(DEVELOP) ## the same with what tests, checks and benchmarks need

demo: install ## the whole way on data and weights that come with the installation
	$(BIN)/offshelf demo

quick: develop ## the tests that are not slow, in two processes
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not real and not slow" $(PYTEST_ARGS)

test: lint ## ruff, mypy and every test that needs no outside data
	$(BIN)/python -m pytest -m "not real" $(PYTEST_ARGS)

test-hidden: develop ## engines and heads as on a processor without AVX-512
	$(HIDDEN) $(BIN)/python -m pytest -m "not real and not long" $(HIDDEN_TESTS) $(PYTEST_ARGS)

test-real: develop ## the tests on the real data set and weights (SHARED=folder)
	OFFSHELF_SHARED="$(abspath $(SHARED))" $(BIN)/python -m pytest -m real $(PYTEST_ARGS)

lint: develop ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: develop ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: ## the whole gate: make test, and make test-real where its data is
	bash .ci/run

docs: $(PAGES) ## the documentation as a site in site/, which needs no network
	$(BIN)/python docs/command_reference.py
	$(BIN)/mkdocs build --quiet --strict

bench: develop ## all benchmarks, short, on made-up images; DATA=folder adds the plain loop on it
	$(BIN)/python benchmarks/gemm.py --repeat 3
	$(BIN)/python benchmarks/startup.py --repeat 2
	$(BIN)/python benchmarks/extraction.py --images 60 --rounds 1 --sides $(SHORT)
	$(BIN)/python benchmarks/layers.py --weights random --images 16 --rounds 2
	$(BIN)/python benchmarks/cold_start.py --images 60 --precisions int8
	$(BIN)/python benchmarks/accuracy.py --splits 2 --per-class 10
	$(BIN)/python benchmarks/memory.py --sizes 100 400
	$(BIN)/python benchmarks/head_memory.py --rows 500 --dimensions 1000
	$(if $(DATA),$(BIN)/python benchmarks/against_plain_loop.py --data "$(DATA)")

clean: ## remove caches and builds
	rm -rf build dist site demo offshelf-demo src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV)

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "offshelf needs Python 3.11, 3.12 or 3.13: make $(or $(MAKECMDGOALS),install) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || \
	  { echo "this Python cannot make environments: install its venv package (on Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(INSTALLED): $(CREATED) pyproject.toml constraints.txt
	$(PIP) -e '.[lite]'
	@touch $@

$(DEVELOP): $(CREATED) pyproject.toml constraints.txt
	$(PIP) -e '.[dev,lite]'
	@touch $(INSTALLED) $@

$(PAGES): $(INSTALLED) pyproject.toml constraints.txt
	$(PIP) -e '.[docs,lite]'
	@touch $(INSTALLED) $@
