#!/bin/bash
# Prints the path of a Go that can build the peers the tests and examples use (Nomad, csi-sanity): the machine's own when it is new enough or can
# fetch a newer one itself (1.21 and later do), else Debian's, with which the toolchain that the newest go.mod here asks for is fetched as what it
# also is: a Go module, checked against the checksum database like any other.
#
#   go=$(tests/lib/go.sh)
#
# Modules are kept where Go keeps them (GOMODCACHE).  Exit code 77, with the reason on standard error, when there is none to be had.
set -euo pipefail
tree=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")

skip() { echo "skipped: $*" >&2; exit 77; }
# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

want=$(awk '$1 == "go" { print $2 }' "$tree"/tests/acceptance/*/go.mod | sort -V | tail -n 1)
go=$(command -v go || true)
if [ -z "$go" ]; then
	"$tree/packaging/install-packages.sh" go >&2 || skip "there is no Go, and Debian's cannot be installed"
	go=$(command -v go) || skip "there is no Go, and Debian's is not in PATH"
fi
# In a directory without a go.mod: one that asks for more than an old Go has must not matter here.
cd /
have=$("$go" version | sed -n 's/^go version go\([0-9.]*\).*/\1/p')
if ! at_least "$have" "$want" && { ! at_least "$have" 1.21 || [ "$("$go" env GOTOOLCHAIN)" = local ]; }; then
	platform=$("$go" env GOOS)-$("$go" env GOARCH)
	found=$(GOFLAGS='' GOTOOLCHAIN=local "$go" mod download -json "golang.org/toolchain@v0.0.1-go$want.$platform" |
		sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p') || found=
	[ -n "$found" ] || skip "Go $want cannot be fetched with the Go $have that is here"
	# A module's files come without their execute bits, and read-only.
	find "$found/bin" "$found/pkg/tool" -type f ! -perm -100 -exec chmod a+x {} +
	go=$found/bin/go
fi
echo "$go"
