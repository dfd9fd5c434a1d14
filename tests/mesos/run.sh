#!/bin/bash
# The isolator module for Mesos, for every release: built, loaded into an agent that we play, and put through a container's life and ends.
#
#   tests/mesos/run.sh BUILD [WORK]
#
# BUILD has cleatd, cleat and cleat-mesos; WORK (BUILD/mesos-tests) is made here.  Environment:
#   MESOS_PREFIX, MESOS_INCLUDES   installed releases of Mesos, as for mesos/build.sh: tried beside our stand-ins
#   CLEAT_MESOS_CASES              only modules whose name contains this, as "standin-1.7.3"
#   CLEAT_MESOS_TEST               only tests whose name contains this, as "restart"
# Needs root.  Exit code 0: all passed; 1: not.
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
build=${1:?BUILD is missing}
work=${2:-$build/mesos-tests}
parallel=${CLEAT_MESOS_PARALLEL:-4} # they wait more than they work
messages="0.23.1 0.25.0 1.7.2"
mkdir -p "$work" || exit 1

# Messages as released, from PyPI; without a network our own alone are tried, and that is said.
for version in $messages; do
	[ -e "$work/interface/$version/mesos.pb" ] && continue
	python3 "$here/interface.py" "$work/interface" "$version" || printf '[  SKIPPED ] test_real_messages_%s\n' "${version//./_}"
done

nice -n 5 cmake -S "$here" -B "$work" -G Ninja -DMESOS_INTERFACE="$work/interface" -DMESOS_PREFIX="${MESOS_PREFIX:-}" \
	-DMESOS_INCLUDES="${MESOS_INCLUDES:-}" >"$work/build.log" 2>&1 &&
	nice -n 5 ninja -C "$work" >>"$work/build.log" 2>&1 || {
	tail -n 60 "$work/build.log"
	exit 1
}
[ "$(cat "$here/../../mesos/compat/"*.[ch]pp | wc -l)" -lt 400 ] || { echo "mesos/compat has 400 lines or more"; exit 1; }

rm -f "$work"/case-*.log
grep -- "${CLEAT_MESOS_CASES:-}" "$work/cases.txt" | BUILD=$build WORK=$work HERE=$here xargs -d '\n' -P "$parallel" -I CASE bash -c '
	python3 "$HERE/mesos_test.py" "$BUILD" "$WORK" "CASE" >"$WORK/case-$(echo CASE | tr " " _).log" 2>&1'
rc=$?
cat "$work"/case-*.log
exit $((rc ? 1 : 0))
