.PHONY: demo test test-fast lint docs reference clean
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed
# A process per core, but no more than eight: each holds torch and most of the fixtures. Each computes on one
# thread, or the processes would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

demo: $(READY)  ## the full chain on synthetic people; prints where the report is
	$(VENV)/bin/faceverif demo --out runs/demo

test: $(READY)  ## all tests
	$(PYTEST)

test-fast: $(READY)  ## all tests except the slow ones
	$(PYTEST) -m "not slow"

lint: $(READY)  ## formatting, lint, types, import rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(READY)  ## the documentation site, in site/; without a network, and a warning is an error
	NO_MKDOCS_2_WARNING=true $(VENV)/bin/mkdocs build --strict --quiet

reference: $(READY)  ## docs/reference/config.md and configs/schema, from the config sections
	$(VENV)/bin/python docs/from_code/config_pages.py

clean:
	rm -rf $(VENV)
