#!/bin/bash
# The ebs backend against peers that others wrote: moto (an EC2 in Python) for the wire format, botocore for signatures, and AWS's own mock of the
# instance metadata service for version 2 of it.
#
#   tests/acceptance/ebs/run.sh CLEATD CLEAT
#
# moto comes from PyPI into a virtual environment, the mock from its Go module, both kept in ${XDG_CACHE_HOME:-~/.cache}/cleat-tests, or below
# CLEAT_TEST_CACHE.  Exit code 77: skipped, with the reason.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cleatd=$(readlink -f "${1:?usage: run.sh CLEATD CLEAT}")
cleat=$(readlink -f "${2:?usage: run.sh CLEATD CLEAT}")
moto_version=5.2.5

skip() { echo "ebs: skipped: $*"; exit 77; }
fail() { echo "ebs: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || skip "must be root: cleatd mounts"
cache=${CLEAT_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cleat-tests}
mkdir -p "$cache"

venv=$cache/moto-$moto_version
if [ ! -e "$venv/complete" ]; then
	rm -rf "$venv"
	python3 -m venv "$venv" || skip "python3 cannot make virtual environments (package python3-venv)"
	"$venv/bin/pip" -q install "moto[server,ec2]==$moto_version" boto3 || skip "moto $moto_version cannot be installed from PyPI"
	touch "$venv/complete"
fi
version=$(sed -n 's|.*aws/amazon-ec2-metadata-mock \(v[0-9.]*\).*|\1|p' "$here/go.mod")
mock=$cache/ec2-metadata-mock-$version
if [ ! -x "$mock" ]; then
	go=$("$here/../../lib/go.sh") || exit $?
	(cd "$here" && GOFLAGS=-mod=readonly "$go" build -o "$mock.$$" github.com/aws/amazon-ec2-metadata-mock/cmd/ec2-metadata-mock) ||
		fail "cannot build ec2-metadata-mock $version"
	mv "$mock.$$" "$mock"
fi
exec "$venv/bin/python" "$here/ebs_test.py" "$cleatd" "$cleat" "$mock"
