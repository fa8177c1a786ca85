# Every target sets up what it needs; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test test-install test-gpu run lib full site lint bench trial clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: .venv/.done ## make the virtual environment .venv

.venv/.done: settings.ini pyproject.toml setup.py constraints.txt
	@echo "== Setting up .venv (once; a few minutes, about 7 GB)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "Python 3.10 or later is needed; this is %d.%d. Name another with make PYTHON=..." % v[:2])'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,hf,scale,site]'
	@touch $@

demo: setup ## main job: a network trained on MNIST forgets the sevens; report in demo/
	@echo "== Forgetting the sevens (trains a network the first time, about a minute)"
	@$(BIN)/forgetprune forget --target 7 --data mnist --out demo --force
	@echo "== Open demo/report.html"

# a process more than there are cores (tests/conftest.py), and one thread for each process
PARALLEL ?= -n auto --dist worksteal
test: setup ## run all notebooks and tests; one chapter with its tests: make test CH=cut
ifndef CH
	@echo "== Fetching data that is not there yet"
	@$(BIN)/forgetprune data mnist
endif
	@echo "== Running $(if $(CH),$(CH) with its tests,notebooks and tests (some minutes))"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not network" $(if $(CH),--chapter $(CH),$(PARALLEL)) $(ARGS)

test-install: setup ## install the package into a clean environment, PyTorch and all
	@$(BIN)/python -m pytest -m network $(ARGS)

test-gpu: setup ## the tests that need a graphics card
	@$(BIN)/python -m pytest tests/test_gpu.py $(ARGS)

run: setup ## run the command: make run ARGS="forget --target 3 --data digits"
	@$(BIN)/forgetprune $(ARGS)

lib: setup ## export the notebooks to the package, clean them, rebuild CLAIMS.md and README.md
	@$(BIN)/nbdev-export
	@$(BIN)/nbdev-clean
	@$(BIN)/python tools/claims.py
	@$(BIN)/python tools/readme.py

full: setup ## run chapters in full, in order, and say what moved: make full ARGS="cut curve"
	@$(BIN)/forgetprune data mnist
	@$(BIN)/forgetprune data fashion
	@$(BIN)/python tools/full.py $(ARGS)
	@$(MAKE) --no-print-directory lib

site: setup ## build the blog from the notebooks' stored outputs, in _site/html
	@$(BIN)/python tools/blog.py

lint: setup ## ruff over package, notebooks, tests
	@$(BIN)/ruff check

# kills at every change of a file, aligned writers, changed files, full disks; no part of `make test`
trial: setup ## try to lose or mix something, by the hundred; some of it: make trial ARGS="runs disk"
	@OMP_NUM_THREADS=1 $(BIN)/python -m trial $(ARGS)

bench: setup ## measure the speed ratios; table on screen, JSON in bench/out
	@$(BIN)/python bench/bench.py $(ARGS)

clean: ## remove .venv and everything built
	rm -rf .venv build dist demo _site bench/out *.egg-info .pytest_cache .ruff_cache .hypothesis
