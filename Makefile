# Two commands: `make bench` measures the embedded model, `make test` tests fastdiff itself.
# `make bench TORCH=2.15.0` measures with another torch, in an environment of its own.

PYTHON ?= python3
TORCH ?=
ARGS ?=

VENV := .venv$(if $(TORCH),-torch-$(TORCH))
BIN := $(VENV)/bin
PINS := $(VENV)/constraints.txt

.PHONY: bench test install clean

bench: $(VENV)/.bench-installed
	$(BIN)/pytest perf_tests --benchmark-compare $(ARGS)

test: $(VENV)/.test-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests $(ARGS)

install: $(VENV)/.bench-installed

clean:
	rm -rf .venv .venv-torch-* .fastdiff

$(PINS): constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fastdiff needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Another torch brings its own needs: the pins of what belongs to torch alone give way to it.
	$(if $(TORCH),{ grep -vE '^(torch|triton|sympy|networkx|mpmath|fsspec|setuptools)==' constraints.txt; echo 'torch==$(TORCH)'; } > $@,cp constraints.txt $@)

$(VENV)/.bench-installed: $(PINS) pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -c $(PINS) -e .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.bench-installed
	$(BIN)/pip install -q --disable-pip-version-check -c $(PINS) -e '.[test]'
	@touch $@
