# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test run lib site lint bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: .venv/.done ## make the virtual environment .venv

.venv/.done: settings.ini pyproject.toml setup.py constraints.txt
	@echo "== Setting up .venv (once; a few minutes, about 7 GB)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "Python 3.10 or later is needed; this is %d.%d. Name another with make PYTHON=..." % v[:2])'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,site]'
	@touch $@

demo: setup ## main job: a network trained on MNIST forgets the sevens; report in demo/
	@echo "== Forgetting the sevens (trains a network the first time, about a minute)"
	@$(BIN)/forgetprune forget --target 7 --data mnist --out demo
	@echo "== Open demo/report.html"

test: setup ## run all notebooks and tests
	@echo "== Fetching data that is not there yet"
	@$(BIN)/forgetprune data mnist
	@echo "== Running notebooks and tests (some minutes)"
	@$(BIN)/python -m pytest $(ARGS)

run: setup ## run the command: make run ARGS="forget --target 3 --data digits"
	@$(BIN)/forgetprune $(ARGS)

lib: setup ## export the notebooks to the package, clean them, rebuild README.md
	@$(BIN)/nbdev-export
	@$(BIN)/nbdev-clean
	@$(BIN)/python tools/readme.py

site: setup ## build the blog from the notebooks' stored outputs, in _site/html
	@$(BIN)/python tools/blog.py

lint: setup ## ruff over package, notebooks, tests
	@$(BIN)/ruff check

bench: setup ## measure the speed ratios; table on screen, JSON in bench/out
	@$(BIN)/python bench/bench.py $(ARGS)

clean: ## remove .venv and everything built
	rm -rf .venv build dist demo _site bench/out *.egg-info .pytest_cache .ruff_cache .hypothesis
