# `make demo` and `make test` set up everything they need, by themselves, in $(VENV).

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN = $(VENV)/bin
READY = $(VENV)/.ready

help: ## Say what there is to make.
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1	/'

demo: $(READY) ## Train on the digits data set without and with the finder.
	$(BIN)/python examples/digits.py

test: $(READY) ## Run the tests; ARGS goes to pytest, as in make test ARGS="-x -k exact".
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY) ## Check the code's style and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check the types of the package, the tests and the examples.
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY) ## Format the code, and mend what ruff can mend.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(READY) ## Build the source distribution and the wheel into dist.
	$(BIN)/python -m build --outdir dist .

clean: ## Remove the virtual environment and everything made here.
	rm -rf $(VENV) build dist .coverage .hypothesis .pytest_cache .ruff_cache lr_finder_digits.png
	find examples ignite_lrfinder tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and pinned, so that nothing after it can choose another build.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt torch
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

.PHONY: help demo test lint types format build clean
