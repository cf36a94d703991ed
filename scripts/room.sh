#!/bin/sh
# Say at once when there is not enough room for what follows: a disk that fills up in the middle fails in a thousand places.
# Usage: scripts/room.sh MEGABYTES
set -eu
cd "$(dirname "$0")/.."
for place in . "${TMPDIR:-/tmp}"; do
  free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
  if [ "$free" -lt "$1" ]; then
    echo "Only $free MB are free in $place; $1 MB are needed." >&2
    exit 1
  fi
done
