#!/bin/sh
# Run the tests in two processes side by side, a half each: what tests a running gateway's doors, and everything else.
# Usage: scripts/halves.sh [pytest's options]. Workers that hand out single tests cost as much as a third of these tests.
set -u
cd "$(dirname "$0")/.."
other=$(mktemp)
.venv/bin/pytest --ignore=tests/handlers "$@" > "$other" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null; rm -f "$other"' EXIT
trap 'exit 130' INT TERM
.venv/bin/pytest tests/handlers "$@"
doors=$?
wait "$beside"
rest=$?
cat "$other"
[ "$doors" -eq 0 ] && [ "$rest" -eq 0 ]
