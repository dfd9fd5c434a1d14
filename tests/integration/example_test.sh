#!/bin/bash
# The program in docs/building-on-libcleat.md: it compiles against the public headers alone, runs, and a second run says the
# same.
#
#   example_test.sh TREE LIBRARY-FOLDER CC
set -euo pipefail
tree=$1
libraries=$2
cc=$3
[ "$(id -u)" = 0 ] || { echo "skipped: must be root to mount"; exit 77; }
[ -w /dev/loop-control ] || { echo "skipped: no loop devices"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cleat-example-test.XXXXXX")

mounts_here() { awk -v w="$work/" 'index($5, w) == 1 { print $5 }' /proc/self/mountinfo | sort -r; }
clean_up() {
	local m
	for m in $(mounts_here) $(mounts_here); do umount "$m" 2>/dev/null || true; done
	if [ -z "$(mounts_here)" ]; then rm -rf --one-file-system "$work"; else
		echo "example_test: still mounted below $work" >&2
		exit 1
	fi
}
trap clean_up EXIT

# The library in a folder without its headers' neighbours, as an installation has it.
mkdir "$work/include"
cp -r "$tree/core/include/cleat" "$work/include/"
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$tree/docs/building-on-libcleat.md" |
	sed "s|/srv/mine|$work|; s|\\.pool_count = 1,|& .any_namespace = true,|" >"$work/mine.c"
grep -q any_namespace "$work/mine.c"
"$cc" -std=c11 -Wall -Wextra -Werror -I"$work/include" "$work/mine.c" -o "$work/mine" -L"$libraries" -lcleat -Wl,-rpath,"$libraries"

first=$("$work/mine")
second=$("$work/mine")
echo "$first"
[[ $first == *" is at $work/run/"* ]]
[ "$first" = "$second" ]
mountpoint -q "${first##* is at }"
