# Everything a person does with a checkout. Each target installs what it needs into .venv; nothing else is touched.
# Needed beforehand: make, git and a python3 of 3.11 or newer.

MAKEFLAGS += --no-print-directory
BIN := .venv/bin
# Debian's interpreter is about a quarter faster than one built without profile-guided optimisation, so it comes first.
PYTHON ?= $(firstword $(foreach candidate,/usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(candidate) -c 'import sys; sys.version_info >= (3, 11) and print("$(candidate)")' 2>/dev/null)))
FLAGS ?=
DEPENDS := setup.cfg pyproject.toml .ci/install.py

.PHONY: help demo test check lint docs bench campaign-kill campaign-power campaign-idle campaign-backlog campaign-console campaign-api campaign-search clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run ## channels, a simulated hospital and live traffic, in one command
	@$(BIN)/wardline demo $(FLAGS)

test: .venv/.test ## all tests that need no hours (FLAGS="-k name -x" goes to pytest)
	@$(BIN)/python -m pytest $(FLAGS)

check: lint test ## what CI runs: format, lint, types, imports, and all tests (documentation is tested too)

lint: .venv/.check ## format, lint, types, imports
	@echo "ruff check"; $(BIN)/ruff check --quiet .
	@echo "ruff format"; $(BIN)/ruff format --quiet --check . || { echo "Run: $(BIN)/ruff format ."; exit 1; }
	@echo "mypy --strict engine"; $(BIN)/mypy --strict engine
	@echo "import layers"; $(BIN)/lint-imports --no-logo

docs: .venv/.test ## write docs/reference from the code, then look for links that lead nowhere and things nobody described
	@$(BIN)/wardline describe --markdown docs/reference
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m pytest -q tests/unit/test_repository.py -k documentation

bench: .venv/.run ## measure this machine
	@$(BIN)/wardline bench $(FLAGS)

campaign-kill: .venv/.test ## kill -9 four hundred times, at random and at named points; nothing acknowledged may be lost
	@$(BIN)/python -m tests.campaign.kill --report docs/reports/kill-campaign.md $(FLAGS)

campaign-idle: .venv/.test ## ten thousand connections that say nothing, and what they cost those that speak
	@$(BIN)/python -m tests.campaign.idle --report docs/reports/idle-connections.md $(FLAGS)

campaign-backlog: .venv/.test ## start on a store in which a million deliveries wait (FLAGS="--messages 100000")
	@$(BIN)/python -m tests.campaign.backlog --report docs/reports/backlog.md $(FLAGS)

campaign-console: .venv/.test ## what a console in use costs intake
	@$(BIN)/python -m tests.campaign.console --report docs/reports/console.md $(FLAGS)

campaign-api: .venv/.test ## fifty thousand odd requests to the API; none may be a server error (FLAGS="--cases 5000")
	@$(BIN)/python -m tests.campaign.api --report docs/reports/api-fuzz.md $(FLAGS)

campaign-search: .venv/.test ## how fast messages are found among a million, on SQLite and PostgreSQL (FLAGS="--messages 100000")
	@$(BIN)/python -m tests.bench.search_bench --report docs/reports/search.md $(FLAGS)

campaign-xss: .venv/.test ## five hundred hostile texts in every field that the console shows, and Chromium on every page
	@$(BIN)/python -m tests.campaign.xss --report docs/reports/hostile-content.md $(FLAGS)

campaign-power: .venv/.test ## cut the power of a SQLite store 20,000 times; nothing acknowledged may be lost
	@$(BIN)/python -m tests.campaign.power --report docs/reports/power-cut.md $(FLAGS)

clean: ## remove .venv, caches and build results; never data/
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed is what the stamp says, for the setup.cfg of its time.
.venv/.run: EXTRAS :=
.venv/.test: EXTRAS := [test]
.venv/.check: EXTRAS := [test,check]
.venv/.run .venv/.test .venv/.check: $(DEPENDS)
	@test -n "$(PYTHON)" || { echo "Wardline needs Python 3.11 or newer: apt-get install python3"; exit 1; }
	@$(PYTHON) .ci/install.py ".$(EXTRAS)"
	@touch $@
