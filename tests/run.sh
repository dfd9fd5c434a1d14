#!/bin/bash
# Installs what is missing, builds, runs every test, and says at the end how many passed, failed and were skipped.
#
#   tests/run.sh                 everything but external
#   tests/run.sh SECTION...      only these: core (plain build, all of ctest), asan, tsan (unit, fuzz and conformance tests under sanitizers),
#                                csi (csi-sanity with mount and block access), nomad (tasks in containers, the driver, CSI and dynamic host
#                                volumes under a real Nomad), mesos (the isolator module for every release, in an agent that is played),
#                                quickstart (the scripts of examples/), uml (conformance under the 6.1 kernel of User Mode Linux),
#                                external (ebs on a simulated EC2, moto, and AWS's metadata mock)
#
# Builds are in build/, build-asan/, build-tsan/ of the tree, or below CLEAT_BUILD_ROOT.  Exit code 0 only when nothing failed and nothing was
# skipped but what tests/expected-skips.txt names.  Needs root: volumes are mounted.
set -uo pipefail
tree=$(dirname "$(dirname "$(readlink -f "$0")")")
builds=${CLEAT_BUILD_ROOT:-$tree}
results=$builds/build-results
jobs=${CLEAT_JOBS:-$(nproc)}
all="core asan tsan csi nomad mesos quickstart uml"
# Run only when named: storage on far sides is under way, and one of its tests, of many creations at once, does not always pass.
under_way="external"
# shellcheck source=tests/lib/leaks.sh
. "$tree/tests/lib/leaks.sh"

title() { printf '\n\033[1m==== %s\033[0m\n' "$*"; }

# Configures and builds; the output is shown only when it fails.
build() { # FOLDER OPTION...
	local folder=$1 log=$results/build.txt
	shift
	if ! cmake -S "$tree" -B "$folder" -G Ninja -DCLEAT_TESTS=ON -DCLEAT_WERROR=ON "$@" >"$log" 2>&1 || ! ninja -C "$folder" >>"$log" 2>&1; then
		tail -n 60 "$log"
		return 1
	fi
}

# Runs ctest and keeps its JUnit file with the whole output of each test.
run_ctest() { # SECTION FOLDER OPTION...
	local section=$1 folder=$2
	shift 2
	ctest --test-dir "$folder" -j2 --output-on-failure --no-tests=error --output-junit "$results/$section.xml" \
		--test-output-size-passed 4194304 --test-output-size-failed 4194304 "$@"
}

# Runs a script as one test of its section; its output goes to the terminal and into the results.
run_script() { # SECTION COMMAND...
	local section=$1
	shift
	"$@" 2>&1 | tee "$results/$section.log"
	echo "${PIPESTATUS[0]}" >"$results/$section.rc"
}

# A build that fails, and a section that leaves something behind, count as a failed test of their own.
fails() { # NAME TEXT
	printf '%s\n' "$2" | tee "$results/$1.log"
	echo 1 >"$results/$1.rc"
}

section_core() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails core-build "the build failed"; return; }
	# Those that start tasks in containers run in the section nomad, alone; those with a far side in the section external.
	run_ctest core "$builds/build" -LE '^(driver|external)$'
}

section_asan() {
	build "$builds/build-asan" -DCLEAT_SANITIZE=address || { fails asan-build "the build failed"; return; }
	run_ctest asan "$builds/build-asan" -L '^(unit|fuzz|conformance)$'
	run_ctest asan-driver "$builds/build-asan" -L '^driver$' -j1
}

section_tsan() {
	build "$builds/build-tsan" -DCLEAT_SANITIZE=thread || { fails tsan-build "the build failed"; return; }
	run_ctest tsan "$builds/build-tsan" -L '^(unit|conformance)$'
}

# csi-sanity against the daemon; each of its cases counts.
section_csi() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails csi-build "the build failed"; return; }
	run_script csi "$tree/tests/acceptance/csi/run.sh" "$builds/build/bin/cleatd"
}

# Tasks in containers first, then the driver under a real Nomad, which is built once and kept.
section_nomad() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails nomad-build "the build failed"; return; }
	run_ctest nomad-driver "$builds/build" -L '^driver$' -j1
	run_script nomad "$tree/tests/acceptance/nomad/run.sh" "$builds/build"
}

# Backends whose storage is elsewhere: on simulators of our own, and against peers that others wrote.
section_external() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails external-build "the build failed"; return; }
	run_ctest external "$builds/build" -L '^external$'
	run_script external-ebs "$tree/tests/acceptance/ebs/run.sh" "$builds/build/bin/cleatd" "$builds/build/bin/cleat"
	run_script external-calls "$tree/bench/ebs-calls.py" "$builds/build/bin/cleatd" "$builds/build/bin/cleat" 200
}

section_mesos() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails mesos-build "the build failed"; return; }
	run_script mesos "$tree/tests/mesos/run.sh" "$builds/build" "$builds/build-mesos"
}

section_quickstart() {
	run_script quickstart "$tree/examples/quickstart.sh" "$builds/build-quickstart"
	run_script nomad-example "$tree/examples/nomad/run.sh" "$builds/build-quickstart"
}

section_uml() {
	build "$builds/build" -DCLEAT_SANITIZE= || { fails uml-build "the build failed"; return; }
	run_script uml "$tree/tests/uml/run-in-uml.sh" "$builds/build"
}

run_section() { # SECTION
	local section=$1 since=$SECONDS
	title "$section"
	machine_state >"$results/before.txt"
	"section_$section"
	nothing_left_since "$results/before.txt" >"$results/left.txt" || fails "$section-leaks" "$(cat "$results/left.txt")"
	printf '%s: %d s\n' "$section" $((SECONDS - since)) | tee -a "$results/times.txt"
}

for section in "$@"; do
	case " $all $under_way " in
	*" $section "*) ;;
	*) echo "$0: there is no section '$section'; there are: $all $under_way" >&2; exit 2 ;;
	esac
done
[ "$(id -u)" = 0 ] || { echo "$0: must be root: volumes are mounted" >&2; exit 2; }
rm -rf "$results"
mkdir -p "$results" || exit 2
"$tree/packaging/install-packages.sh" build test || { echo "$0: packages are missing and cannot be installed" >&2; exit 1; }
for section in ${@:-$all}; do
	run_section "$section"
done
[ $# -gt 0 ] || echo "not run, because under way: $under_way"
title "all"
cat "$results/times.txt"
exec python3 "$tree/tests/lib/results.py" "$results" "$tree/tests/expected-skips.txt"
