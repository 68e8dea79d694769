# make demo and make test set up all they need on a fresh machine; see .ci/setup.py.

PYTHON ?= python3
PG_CONFIG ?= pg_config
VENV := .venv/bin

VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" sql/pg_stepping.control)
EXTENSION := sql/pg_stepping--$(VERSION).sql
UPGRADES := $(patsubst %,sql/pg_stepping--%--$(VERSION).sql,$(shell sed '/^\#/d' sql/upgrades/released))
SHAREDIR ?= $(shell $(PG_CONFIG) --sharedir)

.DELETE_ON_ERROR:
.PHONY: all demo test lint docs bench workloads fuzz install clean

all: $(EXTENSION) $(UPGRADES)

$(EXTENSION): $(filter-out sql/30_%,$(sort $(wildcard sql/[0-9]*.sql))) plpython/maintain.py sql/pg_stepping.control
	printf '%s\n' '\echo Use "CREATE EXTENSION pg_stepping" to load this file. \quit' > $@
	cat $(filter %.sql,$^) | sed -e '/^-- plpython\/maintain.py$$/{r plpython/maintain.py' -e 'd}' \
	    -e 's/@version@/$(VERSION)/g' >> $@

$(UPGRADES): $(EXTENSION)
	sed '1s/.*/\\echo Use "ALTER EXTENSION pg_stepping UPDATE" to load this file. \\quit/' $< > $@

# The server reads these files: run it as the user who may write to its folder, often root.
install: $(EXTENSION) $(UPGRADES)
	install -d "$(SHAREDIR)/extension"
	install -m 644 sql/pg_stepping.control $(EXTENSION) $(UPGRADES) "$(SHAREDIR)/extension"

demo:
	@$(PYTHON) .ci/setup.py demo
	@$(VENV)/python examples/meter_reads/demo.py

# Each worker has a server of its own. A core each; but every one takes memory for its server.
WORKERS ?= auto --maxprocesses 4

test: lint
	$(VENV)/python -m pytest -n $(WORKERS) --dist worksteal

lint:
	@$(PYTHON) .ci/setup.py test
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy

# The site, in build/site; a link that leads nowhere is an error.
docs:
	@$(PYTHON) .ci/setup.py test
	$(VENV)/mkdocs build --strict --quiet

bench:
	@$(PYTHON) .ci/setup.py bench
	$(VENV)/python -m benchmarks
	$(VENV)/python -m benchmarks.tpch
	$(VENV)/python -m benchmarks.deferred
	$(VENV)/python -m benchmarks.functions

SF ?= 0.1

# All of TPC-H on its own data, of scale factor SF.
workloads:
	@$(PYTHON) .ci/setup.py bench
	$(VENV)/python -m benchmarks.tpch.check --sf $(SF)

SEED ?= 0
COUNT ?= 1000

fuzz:
	@$(PYTHON) .ci/setup.py test
	$(VENV)/python -m tests.fuzz --seed $(SEED) --count $(COUNT)
	$(VENV)/python -m tests.fuzz.functions --seed $(SEED) --count $(COUNT)
	$(VENV)/python -m tests.fuzz.graphs --seed $(SEED) --count $(COUNT)

clean:
	rm -rf .venv build dist sql/pg_stepping--*.sql
