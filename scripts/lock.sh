#!/bin/sh
# Recompile the lock files: exact versions with hashes, for every platform, naming no index.
# usage: scripts/lock.sh        (needs uv: it comes with the developer lock)
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
compile() {
  "$uv" pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet "$@"
}
compile --group build -o locks/run.txt
compile --group build --group dev -o locks/dev.txt
if grep -nE 'https?://|--index|--find-links|--extra' locks/*.txt; then
  echo "a lock file names an address" >&2
  exit 1
fi
