# Every target makes .venv itself; all it takes is python3 (3.11 to 3.13), make and a package index.
# Versions: pyproject.toml says what fits, requirements.lock what is installed.

PYTHON ?= python3
VENV := .venv
EMULATOR := .venv-emulator
PY := $(VENV)/bin/python
NAMED := pyproject.toml setup.py requirements.lock featurekit/_version.py
FLIGHTS := examples/flights
RUN := runs/flights

export TF_CPP_MIN_LOG_LEVEL ?= 2
export NO_MKDOCS_2_WARNING ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check bench docs lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `make test` installs all that `make demo` needs, and more.
DEMO := $(or $(wildcard $(VENV)/test.installed),$(VENV)/demo.installed)

demo: $(FLIGHTS)/data/flights.parquet ## features of 336,776 flights, and a model trained on them
	$(VENV)/bin/featurekit run $(FLIGHTS)/flights.yaml --out $(RUN) --overwrite
	$(PY) $(FLIGHTS)/train_sklearn.py $(RUN)
	@echo
	@echo "What is each feature worth? Some minutes."
	$(VENV)/bin/featurekit ablate $(RUN) --out $(RUN)_ablation.html --overwrite --rows 20000 --budget 1m
	@echo
	@echo "The run is in $(RUN), the report is $(RUN)_ablation.html."
	@echo "To go on: source $(VENV)/bin/activate"

$(FLIGHTS)/data/flights.parquet: $(FLIGHTS)/prepare.py | $(DEMO)
	$(PY) $<

test: $(VENV)/test.installed $(EMULATOR)/installed ## all tests
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: $(VENV)/test.installed ## lint, format, types and documentation
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m mkdocs build --strict --quiet

bench: $(VENV)/test.installed ## time and memory, compared
	$(PY) benchmarks/run.py

docs: $(VENV)/test.installed ## the documentation, into site/
	$(PY) -m mkdocs build --strict

lock: $(VENV)/test.installed ## the newest versions that fit, into requirements.lock
	$(PY) -m pip install --quiet --dry-run --ignore-installed --report $(VENV)/report.json -e '.[test]'
	$(PY) .ci/lock.py < $(VENV)/report.json > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## remove what the other targets made, except virtual environments
	rm -rf build dist site runs $(FLIGHTS)/data .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "FeatureKit needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/%.installed: $(NAMED) | $(VENV)/pyvenv.cfg
	@echo "Installing what 'make $*' needs into $(VENV); minutes the first time."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[$*]'
	@touch $@

# The emulator of BigQuery needs other versions of packages than FeatureKit: an environment of its own.
# DuckDB's extensions come as packages and go to the emulator's home: it would fetch them otherwise.
$(EMULATOR)/installed: .ci/emulator.txt .ci/import_extensions.py
	@echo "Installing the emulator of BigQuery, for tests, into $(EMULATOR)."
	@$(PYTHON) -m venv --clear $(EMULATOR)
	@$(EMULATOR)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r .ci/emulator.txt
	@HOME=$(abspath $(EMULATOR)) $(EMULATOR)/bin/python .ci/import_extensions.py
	@touch $@
