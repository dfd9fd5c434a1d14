#!/bin/bash
# Builds what is needed, runs the benchmarks on private directories, and prints one table.  See README.md beside it.
set -euo pipefail

tree=$(cd "$(dirname "$0")/.." && pwd)
build=$tree/build-bench
parent=${TMPDIR:-/tmp}
scale=1
reference=${CSI_REFERENCE:-}
nomad=
form=terminal
names=()

usage() {
	cat <<TEXT
Usage: bench/run.sh [OPTION...] [BENCHMARK...]

Benchmarks: call publish create flat list mount csi memory start nomad-start; all without one.

  --markdown     print the table as markdown
  --dir DIR      put the private directory there ($parent): its file system is what is measured
  --build DIR    build there ($build)
  --reference PROGRAM
                 kubernetes-csi's csi-driver-host-path, the peer of csi (or CSI_REFERENCE in the environment)
  --quick        a fifth of the time: to see that everything runs, not to believe
  --help         this text
TEXT
}

fail() {
	echo "bench: $*" >&2
	exit 1
}

while [ $# -gt 0 ]; do
	case $1 in
	--markdown) form=markdown ;;
	--dir) parent=${2:?--dir takes a directory} && shift ;;
	--build) build=${2:?--build takes a directory} && shift ;;
	--reference) reference=${2:?--reference takes a program} && shift ;;
	--quick) scale=0.2 ;;
	--help) usage && exit 0 ;;
	-*) usage >&2 && exit 2 ;;
	nomad-start) nomad=yes ;;
	*) names+=("$1") ;;
	esac
	shift
done
[ "$(id -u)" = 0 ] || fail "must be root: what is measured mounts file systems"

# ---- build ------------------------------------------------------------------------------------------------------------
build_all() {
	"$tree/packaging/install-packages.sh" build >&2
	cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCLEAT_SANITIZE= \
		-DCLEAT_TESTS=OFF >/dev/null
	ninja -C "$build" bench >/dev/null || ninja -C "$build" bench >&2
}

# The peer needs Go and, for its first build, Go's module registry: without them its columns stay empty.
build_goserver() {
	[ -n "$(sed -n 's/^CLEAT_GO:FILEPATH=\(.*[^D]\)$/\1/p' "$build/CMakeCache.txt")" ] &&
		ninja -C "$build" bench-goserver >&2
}

peers=()
if [ -n "$reference" ]; then
	[ -x "$reference" ] || fail "'$reference' is not a program"
	reference=$(readlink -f "$reference")
	peers+=(--reference "$reference")
fi

echo "bench: building in $build" >&2
build_all
if build_goserver; then
	peers+=(--goserver "$build/bench/goserver")
else
	echo "bench: no grpc-go server to compare with (it needs Go 1.25 and its modules)" >&2
fi

# ---- a private directory, and nothing of it left behind ---------------------------------------------------------------
work=$(mktemp -d "$parent/cleat-bench.XXXXXX")
bench_pid=

end_processes() {
	local file pid
	for file in "$work"/pids/*; do
		pid=${file##*/}
		case $(readlink "/proc/$pid/exe" 2>/dev/null) in
		"$build"/* | "${reference:-none}") kill -9 "$pid" ;;
		esac
	done
}

unmount_all() {
	local target
	for _ in 1 2 3; do
		awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | tac |
			while read -r target; do umount "$target" || true; done
		grep -qF " $work/" /proc/self/mountinfo || return 0
		sleep 0.5
	done
	echo "bench: mounts are left below $work" >&2
	return 1
}

cleanup() {
	trap - EXIT INT TERM HUP
	[ -z "$bench_pid" ] || kill "$bench_pid" 2>/dev/null || true
	[ -z "$bench_pid" ] || wait "$bench_pid" 2>/dev/null || true
	end_processes 2>/dev/null || true
	unmount_all && rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# ---- run --------------------------------------------------------------------------------------------------------------
mkdir "$work/pids"
rows=$work/rows
code=0
if [ -z "$nomad" ] || [ ${#names[@]} -gt 0 ]; then
	"$build/bench/cleat-bench" --work "$work" --cleatd "$build/bin/cleatd" --scale "$scale" "${peers[@]}" "${names[@]}" \
		>"$rows" &
	bench_pid=$!
	wait "$bench_pid" || code=$?
fi
# Without being asked for, only where there is a Nomad already: to build one takes minutes.
if [ -z "$nomad" ] && [ ${#names[@]} = 0 ]; then
	if "$tree/tests/lib/nomad.sh" --cached >/dev/null; then nomad=yes; else echo "bench: no Nomad yet, so no nomad-start" >&2; fi
fi
if [ -n "$nomad" ]; then
	rounds=3
	[ "$scale" = 1 ] || rounds=1
	"$tree/bench/nomad-start" --build "$build" --rounds "$rounds" --rows >>"$rows" &
	bench_pid=$!
	wait "$bench_pid" || code=$?
fi
bench_pid=

# ---- one table --------------------------------------------------------------------------------------------------------
print_terminal() {
	sed 's/≤/<=/; s/≥/>=/' "$rows" | awk -F '\t' '
	BEGIN { split("measure ours peer ratio target met?", head, " "); for (c = 1; c <= 6; c++) cell[0, c] = head[c] }
	{ for (c = 1; c <= 6; c++) cell[NR, c] = $(c + 1) }
	END {
		for (r = 0; r <= NR; r++)
			for (c = 1; c <= 6; c++)
				if (length(cell[r, c]) > width[c]) width[c] = length(cell[r, c])
		for (r = 0; r <= NR; r++) {
			line = sprintf("%-" width[1] "s", cell[r, 1])
			for (c = 2; c <= 4; c++) line = line sprintf("  %" width[c] "s", cell[r, c])
			print line sprintf("  %-" width[5] "s  %s", cell[r, 5], cell[r, 6])
		}
	}'
}

print_markdown() {
	echo '| measure | ours | peer | ratio | target | met? |'
	echo '|---|---:|---:|---:|---|---|'
	awk -F '\t' '{ printf "| %s | %s | %s | %s | %s | %s |\n", $2, $3, $4, $5, $6, $7 }' "$rows"
}

print_circumstances() {
	printf 'Linux %s, %s processors (%s), %s on %s, load average %s\n' "$(uname -r)" "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(df --output=fstype "$work" | tail -n 1)" "$parent" \
		"$(cut -d ' ' -f 1-3 /proc/loadavg)"
}

print_"$form"
echo
print_circumstances
exit "$code"
