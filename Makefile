.PHONY: demo test test-fast lint clean
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

demo: $(READY)  ## the full chain on synthetic people; prints where the report is
	$(VENV)/bin/faceverif demo --out runs/demo

test: $(READY)  ## all tests
	$(VENV)/bin/python -m pytest

test-fast: $(READY)  ## all tests except the slow ones
	$(VENV)/bin/python -m pytest -m "not slow"

lint: $(READY)  ## formatting, lint, types, import rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV)
