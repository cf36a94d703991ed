#!/bin/sh
# Show that a newcomer's two commands work: in a fresh clone of the committed tree, `make run` brings up the demo and a
# purchase made by a real browser arrives at all four platforms; then `make test` passes.
set -eu
cd "$(dirname "$0")/.."
place=$(mktemp -d)
demo=
cleanup() {
  if [ -n "$demo" ]; then kill -TERM -"$demo" 2>/dev/null || true; fi
  rm -rf "$place"
}
trap cleanup EXIT INT TERM
git clone --quiet . "$place/clone"
cd "$place/clone"

port=${PORT:-28080}
begun=$(date +%s)
setsid make run DEMO="--port $port" > "$place/demo.log" 2>&1 &
demo=$!
waited=0
until curl -fs "http://127.0.0.1:$((port + 3))/" >/dev/null 2>&1; do
  waited=$((waited + 1))
  if [ "$waited" -gt 600 ] || ! kill -0 "$demo" 2>/dev/null; then cat "$place/demo.log"; echo "the demo did not come up" >&2; exit 1; fi
  sleep 1
done
cat "$place/demo.log"
echo "make run: up after $(( $(date +%s) - begun )) s, from a clone with nothing installed"

make setup
.venv/bin/python scripts/buy.py "$port"
kill -TERM -"$demo"; wait "$demo" 2>/dev/null || true
demo=
echo "make run: stopped"
make test
echo "fresh: both commands of the README work"
