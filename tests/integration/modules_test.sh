#!/bin/bash
# Backends that are modules: a daemon whose pools do not name one has not loaded it, nor the libraries it needs.
#
#   modules_test.sh CLEATD CLEAT
set -uo pipefail
cleatd=$1
cleat=$2
[ "$(id -u)" = 0 ] || { echo "skipped: must be root to mount"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cleat-modules-test.XXXXXX")
daemon=
bad=0

complain() {
	echo "modules_test: $*" >&2
	bad=1
}

stop() {
	[ -z "$daemon" ] || { kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; }
	daemon=
	umount "$work/run/mnt" 2>/dev/null
}

clean_up() {
	trap - EXIT
	stop
	rm -rf --one-file-system "$work"
	exit "$bad"
}
trap clean_up EXIT

start() { # POOLS...
	printf 'any_namespace: true\npools:\n' >"$work/cleatd.conf"
	printf '%b\n' "$@" >>"$work/cleatd.conf"
	"$cleatd" --config "$work/cleatd.conf" --state-dir "$work/state" --runtime-dir "$work/run" >"$work/log" 2>&1 &
	daemon=$!
	for _ in $(seq 100); do
		"$cleat" --socket "$work/run/cleat.sock" --timeout 2s version >/dev/null 2>&1 && return 0
		kill -0 "$daemon" 2>/dev/null || return 1
		sleep 0.1
	done
	return 1
}

has() { grep -q "$1" "/proc/$daemon/maps"; }

start '  default:\n    backend: dir' || complain "the daemon does not start: $(cat "$work/log")"
has 'libcurl' && complain "a daemon with a local pool alone has loaded libcurl"
has 'libxml2' && complain "a daemon with a local pool alone has loaded libxml2"
has '/cleat/[a-z]*\.so' && complain "a daemon with a local pool alone has loaded a module"
stop

# Nobody listens there: the pool is offline, and the daemon serves all the same.
far='  far:\n    backend: ebs\n    region: eu-test-1\n    instance: none\n    endpoint: http://127.0.0.1:1'
start '  default:\n    backend: dir' "$far" || complain "the daemon does not start with an ebs pool: $(cat "$work/log")"
has 'libcurl' || complain "a daemon with an ebs pool has not loaded libcurl"
has '/cleat/ebs\.so' || complain "the module is not loaded from cleat/ beside libcleat.so"
stop

mkdir "$work/modules"
export CLEAT_MODULE_DIR=$work/modules
start '  default:\n    backend: dir' "$far" && complain "the daemon starts without the module that a pool needs"
grep -q "there is no backend 'ebs'" "$work/log" || complain "not told that the module is missing: $(cat "$work/log")"
stop
echo "no module" >"$work/modules/ebs.so"
start '  default:\n    backend: dir' "$far" && complain "the daemon starts with a broken module"
grep -q "backend 'ebs' cannot be loaded" "$work/log" || complain "not told that the module is broken: $(cat "$work/log")"
exit "$bad"
