# The two commands: `make run` and `make test`. Each installs what it needs, once.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-slow bench check install

run: install
	$(BIN)/rmflow run --config configs/quickstart.yaml

test: install
	$(BIN)/pytest

test-slow: install
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,encoder]'
	$(BIN)/pytest -m slow

bench: install
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python bench/training.py --data hh
	$(BIN)/python bench/tokenization.py 'data/hh_rlhf/*.jsonl.gz'
	$(BIN)/python bench/audit.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py

install: .venv/installed

# constraints.txt pins everything; pip takes the CPU or CUDA build of torch that its index has.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
