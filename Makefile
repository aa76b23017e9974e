# `make run` and `make test` do all the set-up: a fresh clone needs python3, pip and make, no more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: run test check faults mutants coverage bench clean

run: $(READY)  ## the main job on the bundled data: density, particles, comparison, report
	$(BIN)/mfpde run

test: check  ## everything that must hold before a change lands
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

faults: $(READY)  ## every row of the scorecard in docs/RELIABILITY.md: about half an hour
	$(BIN)/python tests/faults/scorecard.py

mutants: $(READY)  ## small changes of the sources that tests must see; goes on where it was left
	$(BIN)/python tests/faults/mutants.py

COVERAGE := $(BIN)/python -m coverage
TESTED := -m pytest -q -n 2 --dist worksteal
KERNELS := tests/kernels tests/methods/test_steps.py tests/methods/test_diffusion.py \
  tests/methods/test_scharfetter_gummel.py::test_generator_against_its_definition

coverage: $(READY)  ## statements and branches that tests reach; kernels once more, not compiled
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "coverage>=7.10"
	$(COVERAGE) erase
	$(COVERAGE) run $(TESTED)
	NUMBA_DISABLE_JIT=1 $(COVERAGE) run $(TESTED) $(KERNELS)
	$(COVERAGE) combine --quiet
	$(COVERAGE) report
	@echo "statements and branches reached: $$($(COVERAGE) report --format=total) %"

bench: $(READY)  ## work, precision and costs of ours and of peers: docs/BENCHMARKS.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m studies.bench

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
