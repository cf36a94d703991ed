# make run      the demo: gateway, shop and stand-ins of the ad platforms, on this machine
# make test     everything a clean machine can show, in under 25 minutes; what CI calls
# make check    the fast loop of a developer: lint, and what is neither slow nor thorough (under 2 minutes on 2 cores)
# make nightly  the long proofs: hundreds of kills, power cuts, disk faults (as root)
# make bench    speed, as ratios within one run; writes docs/reference/performance.md
# make fresh    both commands of the README in a fresh clone

PYTEST := .venv/bin/pytest
JOBS ?= 2

.PHONY: run setup check lint test nightly bench fresh reference lock clean

run:
	@scripts/setup.sh run
	@exec .venv/bin/gateway demo $(DEMO)

setup:
	@scripts/setup.sh dev

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy
	.venv/bin/python scripts/build_tag.py --check
	.venv/bin/python -m gateway.reference --check
	.venv/bin/python scripts/coverage.py --check

check: lint
	scripts/halves.sh -q --hypothesis-profile=fast -m "not slow and not thorough and not nightly and not root"

test: lint
	@scripts/room.sh 1000
	$(PYTEST) -q -n $(JOBS) -m "not slow and not nightly"
	$(PYTEST) -q -m "slow and not nightly"

nightly: setup
	$(PYTEST) -q -rA -m "nightly"

bench: setup
	.venv/bin/python -m tests.bench

fresh:
	scripts/fresh.sh

reference: setup
	.venv/bin/python -m gateway.reference
	.venv/bin/python scripts/coverage.py

lock: setup
	scripts/lock.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo-data
