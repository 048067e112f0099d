# `make demo` and `make test` set up everything they need in $(VENV).

# OpenMP threads that spin while they wait slow everything down if other jobs share the cores.
export OMP_WAIT_POLICY ?= PASSIVE

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
FAULT_CASES ?= 2000

BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --constraint constraints.txt
HAS_TORCH = $(VENV)/.torch
DEMO_READY = $(VENV)/.demo
READY = $(VENV)/.ready
OLD_IGNITES = 0.5.0.post2 0.5.1 0.5.2 0.5.3 0.5.4
IGNITE_TESTS = apply arguments at_epochs engine exact finder loggers muting no_trace progress recorder run scheduler snapshot steps validation verify
BENCHMARK_VENV = .venv-benchmark
BENCHMARK_READY = $(BENCHMARK_VENV)/.ready

help: ## Say what there is to make.
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1	/'

demo: $(DEMO_READY) ## Train on the digits data set without and with the finder.
	@$(BIN)/python examples/digits.py

notebooks: $(READY) ## Execute the notebooks; ARGS=--in-place stores the outputs that the docs show.
	$(BIN)/python notebooks/execute.py $(ARGS)

test: $(READY) ## Run the tests on all cores; ARGS goes to pytest: make test ARGS="-n 0 -x -k exact".
	$(BIN)/python -m pytest $(ARGS)

compatibility: $(READY) ## Run the tests that touch Ignite on each of its older releases.
	set -e; for version in $(OLD_IGNITES); do \
		echo "Ignite $$version"; \
		$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/ignite-$$version pytorch-ignite==$$version; \
		PYTHONPATH=$(VENV)/ignite-$$version $(BIN)/python -m pytest --quiet $(IGNITE_TESTS:%=tests/test_%.py); \
	done

faults: $(READY) ## Try 2,000 random courses with faults, and a fault at each line; FAULT_CASES=n for others.
	FAULT_CASES=$(FAULT_CASES) $(BIN)/python -m pytest --hypothesis-profile=random tests/test_faults.py $(ARGS)

benchmark: $(BENCHMARK_READY) ## Measure the suggestions of this finder and others, and what they cost.
	$(BENCHMARK_VENV)/bin/python -m benchmarks.trust $(ARGS)
	$(BENCHMARK_VENV)/bin/python -m benchmarks.claims
	$(BENCHMARK_VENV)/bin/python -m benchmarks.cost
	$(BENCHMARK_VENV)/bin/python -m benchmarks.ways

lint: $(READY) ## Check the code's style and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check the types of the package, the tests and the examples.
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

docs: $(READY) ## Build the documentation into docs/_build/html; a warning is an error.
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

format: $(READY) ## Format the code, and mend what ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(READY) ## Build the source distribution and the wheel into dist.
	$(BIN)/python -m build --outdir dist .

clean: ## Remove the virtual environment and everything made here.
	rm -rf $(VENV) $(BENCHMARK_VENV) build dist docs/_build docs/notebooks .coverage .hypothesis .pytest_cache .ruff_cache lr_finder_*.png
	find benchmarks docs examples ignite_lrfinder notebooks tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch is installed first and pinned, so that no other package can select another build.
$(HAS_TORCH): constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	@echo "==> Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> Installing torch, the largest of the packages"
	@$(PIP_INSTALL) --no-compile torch
	@touch $@

$(DEMO_READY): pyproject.toml $(HAS_TORCH)
	@echo "==> Installing ignite-lrfinder and what the demo needs"
	@$(PIP_INSTALL) --no-compile --editable '.[demo]'
	@touch $@

$(READY): pyproject.toml $(HAS_TORCH)
	@echo "==> Installing ignite-lrfinder and the development tools"
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $(DEMO_READY) $@

# fastai brings a torchvision that is built for another torch, and needs it for images only.
$(BENCHMARK_READY): pyproject.toml constraints.txt benchmarks/requirements.txt
	$(PYTHON) -m venv $(BENCHMARK_VENV)
	$(BENCHMARK_VENV)/bin/python -m pip install --constraint constraints.txt torch
	$(BENCHMARK_VENV)/bin/python -m pip install --constraint constraints.txt --requirement benchmarks/requirements.txt --editable .
	$(BENCHMARK_VENV)/bin/python -m pip uninstall --yes torchvision
	touch $(BENCHMARK_READY)

.PHONY: help demo test benchmark lint types format build clean compatibility faults docs notebooks
