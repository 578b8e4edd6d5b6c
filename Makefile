# `make quickstart` and `make test` work on a fresh machine with nothing but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
READY := .venv/.ready
PACKAGES := aigc_sdk $(filter-out %.egg-info,$(wildcard plugins/*/aigc_sdk_* examples/third_party/*/aigc_sdk_*))

.PHONY: help quickstart test gauntlet lint format docs docs-test reference bench wheels floors version clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(READY): $(INSTALLED) requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

quickstart: $(INSTALLED) ## generate, fine-tune, generate again, replay; then show what was made
	$(BIN)/python examples/quickstart.py

test: $(READY) ## every test that finishes in minutes, on two cores at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

gauntlet: $(READY) ## the long tests: many kills, many mutations
	$(BIN)/python -m pytest -m slow --timeout 3600

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES)

format: $(READY) ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## the site, with figures of real runs, in build/site; a warning is an error
	$(BIN)/python docs/tables.py
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python docs/media.py
	$(BIN)/python docs/pages.py

docs-test: docs ## follow every page, example and notebook, and every link of the site
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m docs -n 2 --dist worksteal --timeout 600

reference: $(READY) ## train with three seeds, and write docs/quality.md; takes about ten minutes
	$(BIN)/python docs/quality.py

bench: $(READY) ## measure beside the peers; takes about an hour
	for each in $(filter-out benchmarks/machine.py benchmarks/peer.py,$(wildcard benchmarks/*.py)); do echo "== $$each"; $(BIN)/python $$each || exit 1; done

wheels: $(READY) ## build every wheel and install them together in a fresh environment
	PYTHON=$(PYTHON) tests/wheels.sh

floors: $(READY) ## test the wheels with the oldest versions that they say they work with
	PYTHON=$(PYTHON) tests/floors.sh

version: $(READY) ## write a new version everywhere: make version V=0.2.0
	$(BIN)/python tests/versions.py $(V)

clean: ## remove what building and testing left
	rm -rf build dist runs .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
