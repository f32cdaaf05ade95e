# Everything a user or a developer runs. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
EXTRAS ?= torch,dev
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Fall back to python3 where there is no python3.11 by that name.
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif

.DEFAULT_GOAL := help
.PHONY: help install run ui test test-all lint docs format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make .venv and install journeyman with torch and the test tools

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $(INSTALLED)

run: $(INSTALLED) ## the main job: demonstrations, imitation, annealed practice, promotion
	$(BIN)/journeyman experiment=quickstart

ui: $(INSTALLED) ## serve the MLflow page of outputs/ on 127.0.0.1
	$(BIN)/journeyman ui

test: $(INSTALLED) ## the test suite (without the tests marked slow)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: $(INSTALLED) ## the test suite, slow tests included
	$(MAKE) test PYTEST_ARGS="-m '' $(PYTEST_ARGS)"

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED) ## write the generated references anew
	$(BIN)/python -m journeyman.reporting.config_reference > docs/config.md
	$(BIN)/python -m journeyman.reporting.metrics_reference docs/metrics.md
	$(BIN)/python -m journeyman.env.town_reference

format: $(INSTALLED) ## sort imports and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the virtual environment and caches (never outputs/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
