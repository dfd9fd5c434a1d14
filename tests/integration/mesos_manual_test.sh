#!/bin/bash
# The manual pages of the doors to Mesos: no warning from man, and nothing left out that the programs take.
#
#   mesos_manual_test.sh DVDCLI CLEAT-MESOS FOLDER-WITH-PAGES
set -euo pipefail
dvdcli=$1
helper=$2
pages=$3
bad=0

complain() {
	echo "mesos_manual_test: $*" >&2
	bad=1
}

command -v man >/dev/null || { echo "skipped: man is not installed"; exit 77; }
text_of() { MANWIDTH=500 LC_ALL=C.UTF-8 man -P cat -l "$1" 2>/dev/null | col -bx; }

for page in dvdcli.1 drivers.conf.5 cleat-mesos.8; do
	warnings=$(MANWIDTH=80 LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "$pages/$page" 2>&1 >/dev/null) || complain "$page: man fails"
	[ -z "$warnings" ] || complain "$page: $warnings"
	[ "$(text_of "$pages/$page" | wc -l)" -gt 40 ] || complain "$page: is too short to be true"
done

manual=$(mktemp "${TMPDIR:-/tmp}/cleat-mesos-manual-test.XXXXXX")
trap 'rm -f "$manual"' EXIT

# Every option and command that a program's help names is in its page.
compare() { # PAGE PROGRAM LEAST
	local words
	words=$("$2" --help | grep -oE '^  (--)?[a-z-]+' | tr -d ' ')
	[ "$(wc -w <<<"$words")" -ge "$3" ] || complain "$2 --help names only $words"
	text_of "$pages/$1" >"$manual"
	for word in $words; do
		grep -qE -- "^ +$word([ =]|$)" "$manual" || complain "$1 lacks $word"
	done
}
compare dvdcli.1 "$dvdcli" 17
compare cleat-mesos.8 "$helper" 25
text_of "$pages/drivers.conf.5" >"$manual"
for key in pool options params size size_unit create host_path newfstype overwritefs; do
	grep -qE "^ +([a-z]+, )?$key( |$)" "$manual" || complain "drivers.conf.5 lacks $key"
done
exit "$bad"
