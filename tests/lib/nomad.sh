#!/bin/bash
# Prints the path of a Nomad for tests, examples and benchmarks: $NOMAD where that is set, else the release that tests/acceptance/nomad/go.mod
# names, built from its Go module once and then kept in ${XDG_CACHE_HOME:-~/.cache}/cleat-tests, or below CLEAT_TEST_CACHE.
#
#   nomad=$(tests/lib/nomad.sh)
#   tests/lib/nomad.sh --cached       exit code 1 when it would have to be built
#
# What it does is said on standard error.  Exit code 77, with the reason, when there is no Go to build it with.
set -euo pipefail
tree=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
module=$tree/tests/acceptance/nomad

if [ -n "${NOMAD:-}" ]; then
	[ -x "$NOMAD" ] || { echo "$0: NOMAD: '$NOMAD' is no program" >&2; exit 1; }
	readlink -f "$NOMAD"
	exit 0
fi
cache=${CLEAT_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cleat-tests}
version=$(awk '$1 == "github.com/hashicorp/nomad" { print $2 }' "$module/go.mod")
nomad=$cache/nomad-$version
if [ ! -x "$nomad" ]; then
	[ "${1:-}" != --cached ] || exit 1
	go=$("$tree/tests/lib/go.sh")
	mkdir -p "$cache"
	echo "building Nomad $version: this takes some minutes, once" >&2
	(cd "$module" && "$go" build -tags hashicorpmetrics -o "$nomad.$$" github.com/hashicorp/nomad) >&2
	mv "$nomad.$$" "$nomad"
fi
readlink -f "$nomad"
