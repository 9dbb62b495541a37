# make run | test | check …: each first sees to a ready .venv. `make` alone lists the targets.
# PYTHON=3.11 works with that version, in .venv-3.11.
# TESTS=tests/engine narrows what is tested, ARGS="-k cancel -x" goes to pytest.
# ARGS="--only round_trip,cancel" narrows what make bench measures.
# MINUTES=2 shortens the soak, ARGS="--seed 7" repeats one.
PYTHON ?=
TESTS ?= tests
ARGS ?=
MINUTES ?= 30

VENV := .venv$(addprefix -,$(PYTHON))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ANY_PYTHON = $(shell for name in python3 python python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo "$$name" && break; done)

.DEFAULT_GOAL := help
.PHONY: help venv run test check fmt coverage fidelity soak bench docs package clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

$(READY): pyproject.toml
	@$(or $(ANY_PYTHON),$(error no Python on PATH runs: install Python 3.11 to 3.14)) tools/make_venv.py $(VENV) $(PYTHON)

venv: $(READY)  ## make .venv and install everything into it

run: $(READY)  ## run the tour
	@$(BIN)/stateroom run examples/tour.py

test: $(READY)  ## run the whole test suite
	@$(BIN)/python -m compileall -q src  # hundreds of workers need not do it each
	@$(BIN)/python -m pytest -n auto $(ARGS) $(TESTS)

check: $(READY)  ## lint, format, types, import contracts
	@$(BIN)/python tools/check.py

fmt: $(READY)  ## format, and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

coverage: $(READY)  ## the test suite with coverage of the workers too
	@$(BIN)/python -m compileall -q src
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n auto $(ARGS) $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

fidelity: $(READY)  ## CPython's own tests in sessions, compared with plain Python
	@$(BIN)/python tools/fidelity/run.py $(ARGS)

soak: $(READY)  ## 20 sessions in trouble for 30 minutes: nothing lost, hung or leaked
	@$(BIN)/python tools/soak/soak.py --minutes $(MINUTES) $(ARGS)

bench: $(READY)  ## measure beside a floor, as ratios, for some minutes; ARGS=--quick takes one
	@$(BIN)/python benchmarks/bench.py $(ARGS)

docs: $(READY)  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: $(READY)  ## build sdist and wheel, and run the tour and the tests from them in an empty environment
	@$(BIN)/python tools/package.py $(if $(TESTS),$(ARGS) $(TESTS))

clean:  ## remove every .venv and all caches
	rm -rf .venv .venv-* dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
