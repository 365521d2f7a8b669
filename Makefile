# Two commands: `make bench` measures the embedded model, `make test` tests fastdiff itself.
# `make test-compile` tests what compiles, `make test-nightly` what is too slow for every change.
# `make test-floors` tests with the oldest libraries that pyproject.toml allows.
# A third for a machine with a GPU: `make bench-gpu` measures every full-size model, without downloading any.
# `make bench-full`: the ladder of SDXL's real size on a CPU.
# `make bench TORCH=2.15.0` measures with another torch, in an environment of its own.
# `make gpu-check PART=1` and `PART=2`: what the first minutes with a GPU are for (docs/guides/gpu-check.md).

PYTHON ?= python3
TORCH ?=
ARGS ?=
# Of bench-gpu; the models in the order in which they matter, should the time run out.
WEIGHTS ?= dummy
MODELS ?= sdxl ssd-1b sd15 pixart-alpha flux-schnell flux-dev

VENV := .venv$(if $(TORCH),-torch-$(TORCH))
BIN := $(VENV)/bin
PINS := $(VENV)/constraints.txt
OLDEST := .venv-floors

# Of gpu-check: one of its two parts, where results are copied to, and small sizes on a CPU. It installs nothing.
PART ?= all
OUT ?=
REHEARSE ?=
CHECK_PYTHON := $(firstword $(wildcard $(BIN)/python) $(PYTHON))

.PHONY: bench bench-full bench-gpu gpu-check test test-compile test-nightly test-floors install clean

bench: $(VENV)/.bench-installed
	$(BIN)/pytest perf_tests --benchmark-compare --fastdiff-chart runs/ladder.png $(ARGS)

bench-full: $(VENV)/.bench-installed
	@# SDXL's real size, with random weights: about 12 minutes and 16 GB on two cores.
	$(BIN)/pytest perf_tests --fastdiff-model sdxl --fastdiff-weights dummy --fastdiff-size 256 --fastdiff-steps 2 \
		--fastdiff-device cpu --fastdiff-rounds 3 --fastdiff-chart runs/bench-full.png \
		--fastdiff-markdown runs/bench-full.md $(ARGS)
	$(BIN)/fastdiff published "$$(ls -t runs/*.json | head -n 1)"

# A process for each, so that one model's crash or leak is not the next one's; the first failure does not stop the rest.
bench-gpu: $(VENV)/.bench-installed
	@failed=0; measure() { \
		$(BIN)/pytest perf_tests --benchmark-compare --fastdiff-device cuda --fastdiff-weights $(WEIGHTS) "$$@" $(ARGS) || failed=1; \
	}; \
	for model in $(MODELS); do \
		measure --fastdiff-model $$model --fastdiff-markdown runs/$$model.md; \
		[ $$model != sdxl ] || measure --fastdiff-model sdxl --fastdiff-ladder techniques --fastdiff-batch 4 \
			--fastdiff-rounds 3 --fastdiff-markdown runs/sdxl-techniques.md; \
	done; exit $$failed

gpu-check:
	$(CHECK_PYTHON) -m tools.gpu_check --part $(PART) $(if $(OUT),--copy-to $(OUT)) $(if $(REHEARSE),--rehearse)

# Two workers, and then what measures or wants signals, alone. 5: none selected.
define tests
	$(BIN)/pytest tests -m "not alone and $(1)" -n 2 --dist $(2) --no-loadscope-reorder $(ARGS) || [ $$? = 5 ]
	$(BIN)/pytest tests -m "alone and $(1)" $(ARGS) || [ $$? = 5 ]
endef

test: $(VENV)/.test-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(call tests,not compile and not nightly,loadfile)

test-compile: $(VENV)/.test-installed
	$(call tests,compile,load)

test-nightly: $(VENV)/.test-installed
	$(call tests,nightly,load)

test-floors: BIN := $(OLDEST)/bin
test-floors: $(OLDEST)/.installed
	$(call tests,not compile and not nightly and not pinned,loadfile)

install: $(VENV)/.bench-installed

clean:
	rm -rf .venv .venv-torch-* $(OLDEST) .fastdiff

$(PINS): constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fastdiff needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Another torch brings its own needs: the pins of what belongs to torch alone give way to it.
	$(if $(TORCH),{ grep -vE '^(torch|triton|sympy|networkx|mpmath|fsspec|setuptools)==' constraints.txt; echo 'torch==$(TORCH)'; } > $@,cp constraints.txt $@)

$(VENV)/.bench-installed: $(PINS) pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -c $(PINS) -e .
	@touch $@

$(VENV)/.test-installed: $(PINS) pyproject.toml
	$(BIN)/pip install -q --disable-pip-version-check -c $(PINS) -e '.[test]'
	@touch $(VENV)/.bench-installed $@

$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	@# What these libraries need in turn, and the tools of the tests, are the newest that go with them.
	sed -n 's/^    "\(.*\)>=\(.*\)",$$/\1==\2/p' pyproject.toml > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/pip install -q --disable-pip-version-check -c $(OLDEST)/constraints.txt -e '.[test]'
	@touch $@
