# `make run` and `make test` do all the set-up: a fresh clone needs python3, pip and make, no more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: run test check clean

run: $(READY)  ## the main job on the bundled data: density, particles, comparison, report
	$(BIN)/mfpde run

test: check  ## everything that must hold before a change lands
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable ".[test]"
	touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
