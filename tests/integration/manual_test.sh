#!/bin/bash
# The manual pages: no warning from man, and nothing left out that the programs take; the tables in guides are those of the code.
#
#   manual_test.sh CLEAT CLEATD NOMAD-DRIVER-CLEAT CLEAT-DHV FOLDER-WITH-PAGES SOURCE-TREE
set -euo pipefail
cleat=$1
cleatd=$2
driver=$3
dhv=$4
pages=$5
tree=$6
bad=0

complain() {
	echo "manual_test: $*" >&2
	bad=1
}

command -v man >/dev/null || { echo "skipped: man is not installed"; exit 77; }
# In one column, plain, and without paging; the text is only looked at for words.
text_of() { MANWIDTH=500 LC_ALL=C.UTF-8 man -P cat -l "$1" 2>/dev/null | col -bx; }

for page in cleat.1 cleatd.8 cleatd.conf.5 nomad-driver-cleat.8 cleat-dhv.8; do
	warnings=$(MANWIDTH=80 LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "$pages/$page" 2>&1 >/dev/null) || complain "$page: man fails"
	[ -z "$warnings" ] || complain "$page: $warnings"
	[ "$(text_of "$pages/$page" | wc -l)" -gt 40 ] || complain "$page: is too short to be true"
done

manual=$(mktemp "${TMPDIR:-/tmp}/cleat-manual-test.XXXXXX")
text_of "$pages/cleat.1" >"$manual"
trap 'rm -f "$manual"' EXIT

# Of each verb: its own paragraph has every option that its own help has.
verbs=0
while read -r verb; do
	verbs=$((verbs + 1))
	# shellcheck disable=SC2086 # two words, or one
	help=$("$cleat" $verb --help)
	own=$(sed -n '/Common options:/q;p' <<<"$help" | grep -oE -- '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+' || true)
	paragraph=$(awk -v head="cleat $verb" '
		/^ +cleat [a-z]/ { inside = (index($0, head " ") || $0 ~ head "$") ? 1 : (blank ? 0 : inside) }
		/^[A-Z]/ { inside = 0 }
		{ blank = ($0 ~ /^ *$/); if (inside) print }' "$manual")
	[ -n "$paragraph" ] || complain "cleat.1 does not tell of 'cleat $verb'"
	for option in $own; do
		grep -qE -- "$option( |,|$)" <<<"$paragraph" || complain "cleat.1: 'cleat $verb' lacks $option"
	done
done < <("$cleat" --help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p')
[ "$verbs" -ge 25 ] || complain "cleat --help lists only $verbs verbs"

for option in $("$cleat" --help | sed -n '/Common options:/,$p' | grep -oE -- '--[a-z-]+'); do
	grep -q -- "$option" "$manual" || complain "cleat.1 lacks $option"
done
for code in 0 1 2 3 4 5 6 7 8; do
	sed -n '/^EXIT STATUS/,/^EXAMPLES/p' "$manual" | grep -qE "^ +$code  " || complain "cleat.1 lacks exit status $code"
done

text_of "$pages/cleatd.8" >"$manual"
for option in $("$cleatd" --help | grep -oE -- '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
	grep -q -- "$option" "$manual" || complain "cleatd.8 lacks $option"
done

text_of "$pages/cleatd.conf.5" >"$manual"
for key in $("$cleatd" --help-config | sed -n 's/^  \([a-z][a-z_.]*\) .*/\1/p') uid mode ext4.inode_size xfs.log_size noatime; do
	grep -qE "^ +$key( |$)" "$manual" || complain "cleatd.conf.5 lacks $key"
done

text_of "$pages/nomad-driver-cleat.8" >"$manual"
for option in $("$driver" --help | grep -oE -- '^ +(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
	grep -q -- "$option" "$manual" || complain "nomad-driver-cleat.8 lacks $option"
done
keys=$("$driver" --help-config | sed -n 's/^  \([a-z][a-z_.]*\) .*/\1/p')
[ "$(wc -w <<<"$keys")" -ge 30 ] || complain "nomad-driver-cleat --help-config lists only $keys"
for key in $keys; do
	grep -qE "^ +${key#volume.}( |$)" "$manual" || complain "nomad-driver-cleat.8 lacks $key"
done
"$tree/docs/tables.sh" "$pages/cleat_driver_manual" "$tree/docs/nomad.md" | diff "$tree/docs/nomad.md" - ||
	complain "docs/nomad.md: the tables are not those of the code; see docs/tables.sh"

text_of "$pages/cleat-dhv.8" >"$manual"
keys=$("$dhv" --help | sed -n 's/^  \([a-z-][a-z_-]*\) .*/\1/p')
[ "$(wc -w <<<"$keys")" -ge 11 ] || complain "cleat-dhv --help lists only $keys"
for key in $keys; do
	grep -qE -- "(^|[ |])$key( |$)" "$manual" || complain "cleat-dhv.8 lacks $key"
done
for code in 0 1 2 3 4 5 6 7 8; do
	sed -n '/^EXIT STATUS/,/^EXAMPLES/p' "$manual" | grep -qE "^ +$code  " || complain "cleat-dhv.8 lacks exit status $code"
done
"$tree/docs/tables.sh" "$pages/cleat_dhv_manual" "$tree/docs/nomad-dhv.md" | diff "$tree/docs/nomad-dhv.md" - ||
	complain "docs/nomad-dhv.md: the table is not that of the code; see docs/tables.sh"
exit "$bad"
