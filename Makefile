# SPDX-License-Identifier: Apache-2.0
# The door to everything. Every target sets up what it needs first (scripts/setup).
#
#   make           build both halves            make bench     compare with other servers
#   make run       serve an application         make fmt       format both halves
#   make test      EUnit, Common Test, pytest   make lint types xref dialyzer    the checks
#   make chaos     kills under load, 30,000 clients that leave, nodes cut off, stopped, killed
#   make matrix    every operation of hornbeam_erlang from everywhere
#   make wheel     dist/*.whl: both halves in one package           make test-wheel    install it, run it
#   make check     all checks                   make clean     remove what was built
#
# make run takes BIND (127.0.0.1:8000), APP (app:application), APP_DIR (examples/hello_wsgi when
# APP is not given, else the current directory) and ARGS (further options of the hornbeam command).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VENV := .venv/bin
REBAR := rebar3
PY_SOURCES := $(wildcard python tests benchmarks scripts examples) setup.py

BIND ?= 127.0.0.1:8000
ifdef APP
APP_DIR ?= .
else
APP_DIR ?= examples/hello_wsgi
endif
APP ?= app:application
ARGS ?=

.PHONY: setup build build-erl build-py run test test-erl test-erl-unit test-ct test-py chaos matrix \
	wheel test-wheel bench fmt fmt-erl fmt-py lint lint-erl lint-py types types-erl types-py dialyzer xref check clean

setup:
	@scripts/setup

build: build-erl build-py

build-erl: setup
	@$(REBAR) compile

build-py: setup

run: build
	@exec $(VENV)/hornbeam --bind $(BIND) --app-dir $(APP_DIR) $(ARGS) $(APP)

test: build
	@$(VENV)/python scripts/run_tests.py eunit ct pytest

test-erl: build
	@$(VENV)/python scripts/run_tests.py eunit ct

test-erl-unit: build
	@$(VENV)/python scripts/run_tests.py eunit

test-ct: build
	@$(VENV)/python scripts/run_tests.py ct

test-py: build
	@$(VENV)/python scripts/run_tests.py pytest

wheel: build
	@rm -rf build/lib* build/bdist* dist
	@$(VENV)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls dist

test-wheel: wheel
	@HORNBEAM_WHEEL=dist $(VENV)/pytest -q --timeout=900 tests/live/test_wheel.py

chaos: build
	@HORNBEAM_CHAOS=30 $(REBAR) ct --suite=test/chaos_SUITE,test/leavers_SUITE,test/cluster_faults_SUITE
	@HORNBEAM_INCREMENTS=10000 $(VENV)/pytest -q --timeout=900 tests/live/test_state.py -k writers

matrix: build
	@HORNBEAM_MATRIX=whole $(VENV)/pytest -q --timeout=900 tests/live/test_matrix.py

bench: build
	@scripts/setup bench
	@$(VENV)/python benchmarks/run_benchmark.py $(ARGS)

fmt: fmt-erl fmt-py

fmt-erl: setup
	@$(VENV)/python scripts/erlang_layout.py --fix

fmt-py: setup
	@$(VENV)/ruff format -q $(PY_SOURCES)
	@$(VENV)/ruff check -q --fix $(PY_SOURCES)

lint: lint-erl lint-py

lint-erl: build-erl
	@$(VENV)/python scripts/erlang_layout.py
	@$(REBAR) xref

lint-py: setup
	@$(VENV)/ruff check $(PY_SOURCES)
	@$(VENV)/ruff format --check $(PY_SOURCES)

types: types-erl types-py

types-erl: dialyzer

types-py: setup
	@$(VENV)/mypy

dialyzer: setup
	@$(REBAR) dialyzer

xref: setup
	@$(REBAR) xref

check: lint types

clean:
	@rm -rf _build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis python/*.egg-info
	@rm -f python/hornbeam_erlang/*.so .venv/stamp-*
