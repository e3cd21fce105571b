# `make` alone says what there is.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup demo benchmark docs test lint clean
help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(BIN)/.done ## make the environment, in .venv

$(BIN)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup ## run the whole pipeline on the generated data set, without a network
	cd demo && python -m pipelines.ray_cluster dvc repro --force

benchmark: setup ## run the benchmark on the real data (params.yaml)
	python -m pipelines.ray_cluster dvc repro

docs: setup ## put the results into README.md and docs/
	python -m pipelines.docs

test: setup ## run the tests
	pytest

lint: setup ## format and check the code
	ruff format .
	ruff check --fix .
	pyright

clean: ## remove the environment, data and unfinished searches; results stay
	rm -rf .venv data studies demo/data demo/studies demo/results demo/dvc.lock
