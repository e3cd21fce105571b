# `make` alone says what there is.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

EXAMPLES ?= 20000
MOMENTS ?= 20
WORKERS ?= 4
PEERS := fuxictr deepctr torchfm recbole
SEARCH_PEERS := fuxictr torchfm
COMPILED := libffm modern_fm myfm vowpal xlearn

.PHONY: help setup demo benchmark paper board bench-peers bench-search tricks roofline threads schedulers search-quality prepare-memory docs test test-quick fuzz faults exports lint clean picture check-report recipes searches export-speed
help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(BIN)/.done ## make the environment, in .venv

$(BIN)/.done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	@echo "Installing torch, Ray, DVC and the others (2.8 GB, more where pip takes torch for CUDA) into .venv: 1 to 5 minutes."
	@echo "At the end pip unpacks them, and prints nothing for a minute, on a slow machine for several."
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: setup ## run the whole pipeline on the generated data set, without a network
	cd demo && python -m pipelines.ray_cluster dvc repro --force
	@echo "demo/results/report.html has all of it: open it in a browser, or cd demo; python -m pipelines.report --open"

picture: ## draw README's picture anew, from the results of make demo
	cd demo && python -m pipelines.report --picture ../docs/demo.svg

check-report: setup ## look at the page of results in a real browser, and keep screenshots in runs/report
	REPORT_SHOTS=runs/report pytest -s tests/unit/test_report_in_browser.py

benchmark: setup ## run the benchmark on the real data (params.yaml)
	python -m pipelines.ray_cluster dvc repro

paper: setup ## reproduce the paper (paper/params.yaml) and write docs/reproduction.md
	cd paper && python -m pipelines.ray_cluster dvc repro

board: setup ## run what is missing of the board of record (board/params.yaml), and its pages
	cd board && python -m pipelines.ray_cluster dvc repro

bench-peers: setup $(patsubst %,benchmarks/.venv/%/.done,$(PEERS) $(COMPILED)) ## compare the speed with other packages
	python benchmarks/bench_peers.py

tricks: setup ## measure which trick gives what
	python benchmarks/tricks.py

roofline: setup ## measure how near training is to what this machine allows (after bench-peers)
	python benchmarks/roofline.py

threads: setup ## measure two trainings at once against one with two threads
	python benchmarks/threads.py

schedulers: setup ## measure what stopping trials early gains, and what a search costs by itself
	python benchmarks/schedulers.py

bench-search: setup $(SEARCH_PEERS:%=benchmarks/.venv/%/.done) ## compare searches with loops over other packages
	python benchmarks/search_speed.py

search-quality: setup ## measure how near each sampler comes to the best of many trained settings
	python benchmarks/search_quality.py

recipes: setup ## measure what the recipe of published CTR logs gains on Frappe
	python benchmarks/recipes.py

searches: setup ## measure the luck of a search: the same searches again with other seeds
	python benchmarks/searches.py

prepare-memory: setup ## measure the memory that preparing 20 million lines takes
	python benchmarks/prepare_memory.py

benchmarks/.venv/%/.done: benchmarks/requirements/%.txt
	$(PYTHON) -m venv benchmarks/.venv/$*
	if benchmarks/.venv/$*/bin/pip install --quiet -r $< 2> benchmarks/.venv/$*.log; then touch $@; \
	else echo "$* could not be installed: see benchmarks/.venv/$*.log"; fi

docs: setup ## put the results into README.md and docs/
	python -m pipelines.docs

# Several processes import the same modules: let the first compile them for all.
test test-quick: export PYTHONDONTWRITEBYTECODE :=

test: setup ## run all tests, side by side (make test WORKERS=…)
	pytest -n $(WORKERS)

test-quick: setup ## run the tests that need neither Ray nor a copy of the code nor seconds each, at each save
	pytest -n 2 -m 'not edits and not slow' tests/contracts tests/equations tests/unit

fuzz: setup ## try 20,000 random inputs a property (make fuzz EXAMPLES=…)
	FUZZ_EXAMPLES=$(EXAMPLES) pytest tests/unit/test_properties.py

faults: setup ## kill, interrupt and fill up things, at 20 random moments each (make faults MOMENTS=…)
	-FAULT_MOMENTS=$(MOMENTS) pytest -m fault --junitxml=.pytest_cache/faults.xml
	python tests/faults/table.py .pytest_cache/faults.xml
	python -m pipelines.docs

exports: setup ## export every model to ONNX, and compare
	EXPORT_ALL=1 pytest -n 2 tests/unit/test_export.py

export-speed: setup ## compare the size and speed of bundles and their ONNX models
	python benchmarks/exports.py

lint: setup ## format and check the code
	ruff format .
	ruff check --fix .
	pyright
	lint-imports

clean: ## remove the environment, data and unfinished searches; results stay
	rm -rf .venv benchmarks/.venv benchmarks/.cache data studies demo/data demo/studies demo/results demo/dvc.lock paper/data paper/studies
