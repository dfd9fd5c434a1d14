#!/bin/bash
# Prints a guide with its tables as the code has them now: what stands between "<!-- NAME -->" and "<!-- end -->" is replaced by what
# "TOOL NAME" prints.  A test requires that the guide in the tree is what this prints.
#
#   docs/tables.sh build/docs/cleat_driver_manual docs/nomad.md >new && mv new docs/nomad.md
set -euo pipefail
[ $# = 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
inside=
while IFS= read -r line; do
	case $line in
	'<!-- end -->') inside= ;;
	'<!-- '*-rows' -->')
		inside=${line#<!-- }
		inside=${inside% -->}
		printf '%s\n' "$line"
		"$1" "$inside"
		;;
	esac
	[ -n "$inside" ] || printf '%s\n' "$line"
done <"$2"
[ -z "$inside" ] || { echo "$0: '$2' has no end of '$inside'" >&2; exit 1; }
