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
parallel=${CLEAT_MESOS_PARALLEL:-6} # they wait more than they work
messages="0.23.1 0.25.0 1.7.2"
failed=0
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

# mesos/build.sh as an operator runs it, for two installed releases at once; our stand-ins are what is installed.
build_alone() {
	local version generation
	rm -rf "$work/alone"
	for version in 0.25.0:C 1.7.3:J; do
		generation=${version#*:} version=${version%:*}
		mkdir -p "$work/alone/mesos-$version/include" "$work/alone/protobuf-$version" || return 1
		cp -r "$here/standin/common/." "$here/standin/$generation/." "$work/version-$version/." "$work/alone/mesos-$version/include/"
		cp -r "$work/messages-$generation/." "$work/alone/protobuf-$version/"
	done
	"$here/../../mesos/build.sh" --mesos-prefix "$work/alone/mesos-0.25.0" --mesos-prefix "$work/alone/mesos-1.7.3" \
		--mesos-includes "0.25.0=$work/alone/protobuf-0.25.0" --mesos-includes "1.7.3=$work/alone/protobuf-1.7.3" \
		--build "$work/alone/build" >"$work/alone/log" 2>&1 || { tail -n 40 "$work/alone/log"; return 1; }
	for version in 0.25.0 1.7.3; do
		[ "$(nm -D --defined-only "$work/alone/build/lib/libcleat_mesos-$version.so" | awk '{ print $3 }')" = org_cleat_VolumeIsolator ] ||
			return 1
	done
	[ -x "$work/alone/build/bin/cleat-mesos-enter" ]
}
echo '[ RUN      ] test_build_sh'
if build_alone; then echo '[       OK ] test_build_sh'; else echo '[   FAILED ] test_build_sh'; failed=1; fi

rm -f "$work"/case-*.log
grep -- "${CLEAT_MESOS_CASES:-}" "$work/cases.txt" | BUILD=$build WORK=$work HERE=$here xargs -d '\n' -P "$parallel" -I CASE bash -c '
	python3 "$HERE/mesos_test.py" "$BUILD" "$WORK" "CASE" >"$WORK/case-$(echo CASE | tr " " _).log" 2>&1'
rc=$?
cat "$work"/case-*.log
exit $((rc || failed ? 1 : 0))
