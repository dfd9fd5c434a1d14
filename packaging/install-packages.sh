#!/bin/sh
# Installs the Debian packages that are missing from the given sections of apt-packages.txt.  Runs apt only if something is missing.
#
#   packaging/install-packages.sh build [test]
set -eu
here=$(dirname "$(readlink -f "$0")")

packages() { # of one section
	awk -v want="[$1]" '/^\[/ { inside = ($0 == want); next } inside && NF && $1 !~ /^#/ { print $1 }' "$here/apt-packages.txt"
}

missing=
for section; do
	names=$(packages "$section")
	[ -n "$names" ] || { echo "$0: no section '$section' in apt-packages.txt" >&2; exit 2; }
	for name in $names; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
		[ "$status" = installed ] || missing="$missing $name"
	done
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
[ "$(id -u)" = 0 ] || { echo "$0: must be root to install packages" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
# A fresh machine has no package lists, an old one stale ones: fetch them when the first try fails.
# shellcheck disable=SC2086 # a list of names
apt-get install -y -q --no-install-recommends $missing && exit 0
apt-get update -q
# shellcheck disable=SC2086
exec apt-get install -y -q --no-install-recommends $missing
