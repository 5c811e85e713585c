# Everything a developer or a visitor needs. `make demo` and `make test` are the two to know.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# wheels alone: a source package would fetch what builds it, without hashes
LOCKED := install --require-hashes --only-binary :all:
STAMPS := $(VENV)/stamps
NNUNET := $(VENV)/nnunet
UNIT := tests/node tests/kd tests/benchmarks tests/properties tests/architecture

# the time since make began: `make test` counts the installation and the checks too
BEGUN := $(shell date +%s)
took = took=$$(($$(date +%s) - $(BEGUN))); echo "make $@ took $$((took / 60)) min $$((took % 60)) s"

.PHONY: help setup check test quick demo bench raise-floors format clean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMPS)/node: requirements/build.txt requirements/node.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("segnode needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the node ..."
	@$(PIP) $(LOCKED) --requirement requirements/build.txt
	@$(PIP) $(LOCKED) --requirement requirements/node.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/test: $(STAMPS)/node requirements/kd.txt requirements/monai.txt requirements/test.txt requirements/torch.txt requirements/fast.txt requirements/postgresql.txt
	@echo "installing the laboratory and the test tools ..."
	@$(PIP) install --requirement requirements/torch.txt
	@$(PIP) $(LOCKED) --requirement requirements/kd.txt
	@$(PIP) $(LOCKED) --no-deps --requirement requirements/monai.txt
	@$(PIP) $(LOCKED) --requirement requirements/test.txt
	@$(PIP) $(LOCKED) --requirement requirements/fast.txt
	@$(PIP) $(LOCKED) --requirement requirements/postgresql.txt
	@touch $@

# nnU-Net brings its own requirements: a second environment, which borrows torch from the first.
# Three of its packages have no wheel; the locked tools build them.
$(STAMPS)/nnunet: $(STAMPS)/test requirements/nnunet.txt
	@echo "installing nnU-Net, to compare with ..."
	@$(PYTHON) -m venv --clear $(NNUNET)
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(NNUNET)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/segnode.pth
	@$(NNUNET)/bin/python -m pip --disable-pip-version-check --quiet $(LOCKED) \
		--requirement requirements/build.txt
	@$(NNUNET)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps \
		--no-build-isolation --requirement requirements/nnunet.txt
	@touch $@

setup: $(STAMPS)/test $(STAMPS)/nnunet ## the node, the laboratory and the test tools, into .venv
	@sh tests/support/system-packages.sh
	@git config core.hooksPath .githooks 2>/dev/null || true

demo: $(STAMPS)/node ## a real head arrives by C-STORE, a SEG comes back
	@$(BIN)/segnode demo

check: $(STAMPS)/test ## format, lint, types and their share, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python -m tests.support.typed_share
	@$(BIN)/lint-imports

test: setup check ## everything: one process for the unit tests, one for the others
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope --no-loadscope-reorder; status=$$?; $(took); exit $$status

quick: $(STAMPS)/test ## unit tests and properties that train nothing: about two minutes
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not slow" $(UNIT); status=$$?; $(took); exit $$status

bench: setup ## measure everything in docs/reference/performance.md on this machine: half an hour, alone
	@$(BIN)/python benchmarks/latency.py --write
	@$(BIN)/python benchmarks/idle.py --write
	@$(BIN)/python benchmarks/pipeline.py brain-mr --threads 1 2 --rounds 2 --nnunet-patches 1 --write
	@$(BIN)/python benchmarks/pipeline.py headneck-ct --threads 2 --rounds 2 --nnunet-patches 1 --write
	@$(BIN)/python benchmarks/pipeline.py headneck-ct --shape 300 512 512 --sizes small --threads 2 --rounds 2 --nnunet none --write
	@$(BIN)/python benchmarks/pipeline.py hippocampus-mr --threads 2 --rounds 2 --write
	@$(BIN)/python benchmarks/choice.py headneck-ct --shape 300 512 512 --deadlines 2 10 30 --write
	@$(BIN)/python benchmarks/choice.py brain-mr --shape 176 256 256 --deadlines 0.4 0.5 2 30 --write
	@$(BIN)/python benchmarks/flood.py --write
	@$(BIN)/python benchmarks/growth.py --write
	@$(BIN)/python benchmarks/stem.py brain-mr --write

raise-floors: $(STAMPS)/test ## raise the floors of typed expressions to the shares of now
	@$(BIN)/python -m tests.support.typed_share --raise

format: $(STAMPS)/test ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove what was installed and made
	rm -rf $(VENV) demo runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
