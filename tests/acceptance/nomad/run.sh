#!/bin/bash
# The task driver, CSI and dynamic host volumes under a real Nomad: builds Nomad from the module registry (minutes once, then kept), runs Nomad's
# own driver harness against the built plugin, then starts agents on loopback and checks with the real command line.
#
#   tests/acceptance/nomad/run.sh BUILD_DIR [TEST...]      a TEST is one of nomad_test.py's, as Case3Kills, of csi_test.py's, as Csi2Sharing, or
#                                                          of dhv_test.py's, as Dhv4Reboot
#
# Nomad is kept in ${XDG_CACHE_HOME:-~/.cache}/cleat-tests, or below CLEAT_TEST_CACHE.  Needs root and Go.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
build=$(readlink -f "$1")
shift
[ "$(id -u)" = 0 ] || { echo "skipped: must be root, tasks run in containers with mounts" >&2; exit 77; }
go=$("$here/../../lib/go.sh")
for program in nomad-driver-cleat cleat-run-helper cleatd cleat cleat-dhv; do
	[ -x "$build/bin/$program" ] || { echo "$0: $build/bin/$program is not built" >&2; exit 1; }
done

nomad=$(NOMAD="" "$here/../../lib/nomad.sh")
"$nomad" version

# Whatever the harness leaves in its temporary directory goes with it.
failed=0
tmp=$(mktemp -d /tmp/cleat-h-XXXXXX)
trap 'rm -rf "$tmp"' EXIT
if [ $# = 0 ]; then
	echo "==== Nomad's driver harness"
	(cd "$here" && TMPDIR=$tmp CLEAT_BUILD=$build "$go" test -json -tags hashicorpmetrics -count=1 .) | "$here/../../lib/go-cases.py" ||
		failed=1
fi

# In a network of its own, with a way out that leads nowhere: ports, bridges and packet filters of the machine are left alone.
in_own_network() {
	unshare --net sh -c 'ip link set lo up && ip link add up0 type veth peer name up1 && ip address add 198.51.100.1/24 dev up0 &&
		ip link set up0 up && ip link set up1 up && ip route add default via 198.51.100.2 && exec "$@"' sh "$@"
}

# The cases of one file: those of its own that were asked for, or all.
run_cases() { # WHAT FILE PREFIX [TEST...]
	local what=$1 file=$2 prefix=$3 test asked=()
	shift 3
	for test in "$@"; do
		[[ $test != "$prefix"* ]] || asked+=("$test")
	done
	[ $# = 0 ] || [ ${#asked[@]} -gt 0 ] || return 0
	echo "==== $what"
	in_own_network python3 "$here/$file" "$build" "$nomad" "${asked[@]}" || failed=1
}
run_cases "a real agent" nomad_test.py Case "$@"
run_cases "CSI" csi_test.py Csi "$@"
run_cases "dynamic host volumes" dhv_test.py Dhv "$@"
exit "$failed"
