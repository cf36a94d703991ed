#!/bin/sh
# Prepare this checkout: a virtual environment with exactly the locked packages, and for developers a browser.
# usage: scripts/setup.sh run     what the gateway needs
#        scripts/setup.sh dev     what its tests need as well; as root it installs missing system packages
set -eu
cd "$(dirname "$0")/.."
kind=${1:-run}

say() { printf '%s\n' "$*" >&2; }

apt_install() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing: $*"
    DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
  else
    say "missing: $*. Install it and run this again."
    return 1
  fi
}

python=
find_python() {
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      return 0
    fi
  done
  return 1
}
find_python || { apt_install python3 python3-venv && find_python; } || { say "Python 3.11 or newer is needed."; exit 1; }

if [ ! -x .venv/bin/pip ]; then
  rm -rf .venv
  "$python" -m venv .venv 2>/dev/null || { rm -rf .venv; apt_install python3-venv && "$python" -m venv .venv; }
fi

lock=locks/$kind.txt
stamp=.venv/.installed-$kind
want=$(cat "$lock" pyproject.toml | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
  say "installing the packages of $lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
  printf '%s' "$want" > "$stamp"
fi

if [ "$kind" = dev ]; then
  command -v systemd-analyze >/dev/null || apt_install systemd
  { command -v php && command -v ruby; } >/dev/null 2>&1 || apt_install php-cli php-curl ruby \
    || say "The recipes in PHP and Ruby are not run."
  browser() {
    for name in chromium google-chrome; do
      path=$(command -v "$name" || true)
      case "$path" in ''|/snap/*) ;; *) if ! grep -qs snap "$path"; then return 0; fi ;; esac
    done
    ls "$HOME"/.cache/ms-playwright/chromium-*/chrome-linux*/chrome >/dev/null 2>&1
  }
  if ! browser; then
    . /etc/os-release 2>/dev/null || ID=unknown
    if [ "${ID:-}" = ubuntu ]; then
      # Ubuntu's chromium package is a snap, which does not run headless in a container: take Playwright's own build.
      .venv/bin/playwright install --with-deps chromium
    else
      apt_install chromium
    fi
    browser || { say "Chromium could not be installed."; exit 1; }
  fi

  # Consent platforms as browsers get them, for the journeys: each package of locks/npm.txt, checked against its hash and
  # unpacked outside of the project. Only these: their own dependencies are for building them, and no script of theirs runs.
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/tagging-gateway/npm-$(sha256sum locks/npm.txt | cut -c 1-16)
  if [ ! -f "$cache/.installed" ]; then
    command -v npm >/dev/null || apt_install npm
    say "installing the packages of locks/npm.txt"
    rm -rf "$cache"
    mkdir -p "$cache/packed"
    while read -r package integrity; do
      packed=$cache/packed/$(cd "$cache/packed" && npm pack --silent --ignore-scripts "$package")
      found=sha512-$(.venv/bin/python -c 'import base64, hashlib, sys
print(base64.b64encode(hashlib.sha512(open(sys.argv[1], "rb").read()).digest()).decode())' "$packed")
      if [ "$found" != "$integrity" ]; then say "$package is not what locks/npm.txt says."; exit 1; fi
      place=$cache/${package%@*}
      mkdir -p "$place"
      tar -xzf "$packed" -C "$place" --strip-components=1
    done < locks/npm.txt
    rm -rf "$cache/packed"
    touch "$cache/.installed"
  fi
fi
