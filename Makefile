# The two commands: `make run` and `make test`. Each target installs what it needs, once.
PYTHON ?= python3
BIN := .venv/bin
# Where it is set, as in some containers, every process compiles all tests and modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-slow chaos coverage check docs bench gpu install

run: install
	$(BIN)/rmflow run --config configs/quickstart.yaml

test: install
	$(BIN)/pytest -n 2

test-slow: .venv/encoder .venv/ray .venv/postgres
	$(BIN)/pytest -m slow
	$(BIN)/pytest -n 2 -m hypothesis --hypothesis-profile=thorough

coverage: install
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py

docs: .venv/docs
	rm -rf build/docs build/site
	mkdir -p build/docs
	cp -r README.md CONTRIBUTING.md CHANGELOG.md docs build/docs
	$(BIN)/zensical build --strict --clean

# Runs that are disturbed at random points: make chaos N=200
chaos: install
	$(BIN)/python bench/chaos.py --trials $(or $(N),20)

bench: .venv/bench
	$(BIN)/python bench/training.py --data hh
	$(BIN)/python bench/tokenization.py 'data/hh_rlhf/*.jsonl.gz'
	$(BIN)/python bench/audit.py

gpu: install
	PYTHON=$(BIN)/python bash bench/gpu.sh

install: .venv/dev

# constraints.txt pins everything; pip takes the CPU or CUDA build of torch that its index has.
.venv/%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	touch $@

.venv/encoder .venv/docs .venv/bench .venv/ray .venv/postgres: .venv/dev
