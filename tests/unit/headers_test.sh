#!/bin/bash
# headers_test.sh ROOT CC CXX - each public header compiles alone, first of all and twice, as C11 and as C++, and links both ways.
set -eu
root=$1 cc=$2 cxx=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0 count=0

compile() { # header, compiler, flags...
	local header=$1
	shift
	printf '#include <cleat/%s>\n#include <cleat/%s>\nint main(void) { return 0; }\n' "$header" "$header" > "$tmp/one"
	count=$((count + 1))
	if ! "$@" -Wall -Wextra -Wpedantic -Werror -I "$root/core/include" -fsyntax-only "$tmp/one"; then
		echo "cleat/$header does not compile alone: $*"
		failed=$((failed + 1))
	fi
}

for path in "$root"/core/include/cleat/*.h; do
	header=$(basename "$path")
	compile "$header" "$cc" -x c -std=c11
	compile "$header" "$cxx" -x c++ -std=c++11
	# Every header of ours guards its declarations for C++.
	if ! grep -q 'extern "C"' "$path"; then
		echo "cleat/$header has no extern \"C\""
		failed=$((failed + 1))
	fi
done
echo "$count compilations, $failed failed"
[ "$failed" -eq 0 ] && [ "$count" -gt 0 ]
