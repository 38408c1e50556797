# Everything runs in .venv, which the first target that needs it makes; nothing has to be installed before.

PORT ?= 8000
SENDER_PORT ?= 8081
SIMULATOR_PORT ?=
HOST ?= 127.0.0.1
UV ?= uv
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url
SHELL := /bin/sh
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py

# Commands that need no engine and no real key stay away from the data in .sigma.
types consistency migrations schema: export SIGMA_HOME := $(CURDIR)/.venv/offline
types consistency migrations schema: export SIGMA_EMBEDDED := true
types consistency migrations schema: export PYTHONWARNINGS := ignore:Got an error checking

.DEFAULT_GOAL := help
.PHONY: help up fresh test check lint style types consistency format lock linked s3 migrations schema shell bench crashes chaos hangs attack broadcast-proof clean env env-dev

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36mmake %-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: env ## Start everything here until Ctrl-C (PORT=8000 SIMULATOR_PORT=8090)
	@$(BIN)/python -m sigma.up --host $(HOST) --port $(PORT) --sender-port $(SENDER_PORT) \
		$(addprefix --simulator-port ,$(SIMULATOR_PORT))

fresh: env ## Remove the data of 'make up', after asking (YES=1: without)
	@$(BIN)/python -m sigma.fresh $(if $(filter 1 yes true,$(YES)),--yes)

test: env-dev ## Run the tests (ARGS="-k name" for some of them)
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: lint test ## Run everything that has to pass before a commit

lint: style types consistency ## Check format, style, types, migrations and the committed schema

style: env-dev
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --output-format concise .

types: env-dev
	@$(BIN)/mypy

consistency: env-dev
	@$(MANAGE) check --fail-level WARNING
	@$(MANAGE) makemigrations --check --dry-run
	@$(MANAGE) graphql_schema --schema sigma.schema.schema --out=-.graphql | diff -u schema.graphql -

format: env-dev ## Format the code and sort its imports
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: env-dev ## Pin requirements/*.in to requirements*.txt, with hashes (needs uv)
	@$(UV) pip compile $(LOCK) requirements/core.in -o requirements.txt
	@$(UV) pip compile $(LOCK) requirements/embedded.in -c requirements.txt -o requirements-embedded.txt
	@$(UV) pip compile $(LOCK) requirements/linked.in -c requirements.txt -o requirements-linked.txt
	@$(UV) pip compile $(LOCK) requirements/s3.in -c requirements.txt -o requirements-s3.txt
	@$(UV) pip compile $(LOCK) requirements/dev.in -c requirements.txt -c requirements-embedded.txt -c requirements-linked.txt -c requirements-s3.txt -o requirements-dev.txt

linked: ## Install what linking a real WhatsApp account needs, beside 'make up'
	@sh requirements/environment.sh requirements.txt requirements-embedded.txt requirements-linked.txt

s3: ## Install what files in S3 need, beside 'make up'
	@sh requirements/environment.sh requirements.txt requirements-embedded.txt requirements-s3.txt

migrations: env-dev ## Make the migrations for changed models
	@$(MANAGE) makemigrations

schema: env-dev ## Write schema.graphql
	@$(MANAGE) graphql_schema --schema sigma.schema.schema --out=-.graphql > schema.graphql

shell: env ## Open Django's shell beside a running 'make up'
	@$(MANAGE) shell

bench: env-dev ## Measure accepting, storing and reading, as ratios of one run
	@$(BIN)/python -m benchmarks

crashes: env-dev ## Kill senders between every two steps of a send; nothing may be posted twice
	@$(BIN)/python -m benchmarks.crashes

chaos: env-dev ## Kill everything 50 times under 20,000 callbacks and 3,000 sends (RENAME=60: a column is away so long); nothing may be lost
	@$(BIN)/python -m benchmarks.chaos $(addprefix --rename ,$(RENAME))

hangs: env-dev ## Let the receiver's database hang, delay and drop in 100 processes; none may abort or hang
	@$(BIN)/python -m benchmarks.hanging

attack: env-dev ## Let an anonymous attacker at web for ten minutes beside callbacks and API calls
	@$(BIN)/python -m benchmarks.attack

broadcast-proof: env-dev ## Kill workers under a broadcast to 10,000 people; nobody may be written to twice
	@$(BIN)/python -m benchmarks.broadcasting

clean: ## Remove the environment and caches; the data in .sigma stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache htmlcov .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env:
	@sh requirements/environment.sh requirements.txt requirements-embedded.txt

env-dev:
	@sh requirements/environment.sh requirements-dev.txt
