#!/bin/bash
# A volume through its whole life, on any Debian 12 machine, as root: builds Cleat, starts its daemon on a private directory, and
# creates, publishes, fills, snapshots, restores, expands, keeps across a killed daemon, and deletes volumes.  Every step says what
# it does and is checked; the script ends with 0 only when everything was as it should be, and leaves nothing behind but the build
# folder.
#
#   examples/quickstart.sh [BUILD-FOLDER]       (default: build)
#   CLEAT_QUICKSTART_DIR=/mnt/big examples/quickstart.sh   keeps its private directory there instead of in /var/tmp
set -euo pipefail
tree=$(dirname "$(dirname "$(readlink -f "$0")")")
build=$(readlink -m "${1:-$tree/build}")
work=
daemon=
writer=
example=quickstart
# shellcheck source=examples/lib.sh
. "$tree/examples/lib.sh"

what_they_said() {
	[ -z "$work" ] || { echo '--- the daemon said:' && tail -n 30 "$work/cleatd.log" 2>/dev/null || true; }
}
cleat() { shown cleat "$@" -- "$build/bin/cleat" --socket "$work/run/cleat.sock"; }
# The JSON answer, without showing the command.
json() { "$build/bin/cleat" --socket "$work/run/cleat.sock" --json "$@"; }
claims_of_ours() { json claim list | grep -c '"owner": "the quickstart"' || true; }
is_empty() { # FIELD NOUN VERB...: a list without entries
	local field=$1
	shift
	json "$@" | grep "\"$field\": \[\]" >/dev/null
}
lines() { wc -l <"$1"; }

# ---- leaving nothing behind, however the script ends ------------------------------------------------------------------------------

stop_writer() {
	[ -n "$writer" ] || return 0
	kill "$writer" 2>/dev/null || true
	wait "$writer" 2>/dev/null || true
	writer=
}

stop_daemon() { # SIGNAL
	[ -n "$daemon" ] || return 0
	kill "-$1" "$daemon" 2>/dev/null || true
	wait "$daemon" 2>/dev/null || true
	daemon=
}

clean_up() {
	local code=$?
	trap - EXIT
	stop_writer
	stop_daemon TERM
	remove_work || code=1
	exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the steps -----------------------------------------------------------------------------------------------------------------------

prepare() {
	[ "$(id -u)" = 0 ] || fail "must be root: the daemon mounts file systems"
	title "Install what is missing, and build into $build"
	build_all "$tree" "$build"
	work=$(mktemp -d "${CLEAT_QUICKSTART_DIR:-/var/tmp}/cleat-quickstart.XXXXXX")
	mkdir "$work/db" "$work/logs" "$work/restored"
	[ "$(df_mib avail "$work")" -gt 6144 ] || fail "needs 6 GiB free in '$(dirname "$work")'; set CLEAT_QUICKSTART_DIR"
}

start_daemon() {
	"$build/bin/cleatd" --state-dir "$work/state" --runtime-dir "$work/run" --socket "$work/run/cleat.sock" >>"$work/cleatd.log" 2>&1 &
	daemon=$!
	await 10 "$build/bin/cleat" --socket "$work/run/cleat.sock" --timeout 2s version || fail "the daemon does not answer"
}

first_start() {
	title "Start cleatd on $work: without a configuration it serves one pool"
	start_daemon
	cleat pool list
}

create() {
	title "Create a 1 GiB ext4 volume and publish it at a path"
	cleat volume create db --size 1GiB --fs ext4 --label purpose=demo
	cleat volume publish db "$work/db" --owner "the quickstart"
	check "it is a mount of its own" mountpoint -q "$work/db"
	df -h "$work/db" | sed 's/^/   /'
}

fill() {
	local host used size cost
	title "Write until it is full: at what its own df says, never at the host's"
	head -c 1000000 /dev/urandom >"$work/db/letter"
	letter=$(sha256sum <"$work/db/letter")
	if dd if=/dev/zero of="$work/db/filler" bs=1M 2>"$work/dd.log"; then fail "the volume took everything: it has no limit"; fi
	check "dd met 'No space left on device'" grep -q "No space left on device" "$work/dd.log"
	sync -f "$work/db"
	host=$(df_mib avail "$work")
	cost=$(du -sm "$work/state" | cut -f1)
	size=$(df_mib size "$work/db")
	used=$(df_mib used "$work/db")
	df -h "$work/db" | sed 's/^/   /'
	check "its own df says full: less than 1 MiB of $size MiB is left" [ "$(df_mib avail "$work/db")" -le 1 ]
	check "it is not larger than the 1 GiB that was asked for" [ "$size" -le 1024 ]
	check "the $used MiB in it take $cost MiB of the host" [ $(((cost - used) / 300)) = 0 ]
	check "the host's own disk is not full: $host MiB are left" [ "$host" -gt 512 ]
	cleat volume usage db
}

snapshot_and_restore() {
	title "Snapshot it while it is in use, delete a file, restore it from the snapshot"
	cleat snapshot create db before
	rm "$work/db/letter"
	check "the letter is gone from the volume" [ ! -e "$work/db/letter" ]
	cleat volume clone default/before restored
	cleat volume publish restored "$work/restored"
	check "the letter is back in the restored volume, byte for byte" [ "$(sha256sum <"$work/restored/letter")" = "$letter" ]
	cleat snapshot list db
	cleat volume unpublish restored "$work/restored"
	cleat volume delete restored
	cleat snapshot delete default/before
	rm "$work/db/filler"
}

expand_xfs() {
	local before after
	title "Expand an XFS volume while it is mounted"
	cleat volume create logs --size 512MiB --fs xfs
	cleat volume publish logs "$work/logs" --owner "the quickstart"
	before=$(df_mib size "$work/logs")
	cleat volume expand logs 1GiB
	after=$(df_mib size "$work/logs")
	check "df grew from $before to $after MiB without an unmount" [ "$after" -gt $((before + 400)) ]
}

expand_ext4() {
	local before after later
	title "Expand the ext4 volume: at once where the kernel permits it, else at its next stage"
	before=$(df_mib size "$work/db")
	later=$(json volume expand db 1536MiB)
	if grep -q '"grows_at_next_stage": true' <<<"$later"; then
		say "the answer: the file system grows at next stage (this kernel does not let ext4 grow while it is mounted)"
		check "meanwhile df says what it said" [ "$(df_mib size "$work/db")" = "$before" ]
		cleat volume unpublish db "$work/db"
		cleat volume publish db "$work/db" --owner "the quickstart"
	else
		say "the answer: it has grown already"
	fi
	after=$(df_mib size "$work/db")
	check "df grew from $before to $after MiB" [ "$after" -gt $((before + 400)) ]
}

look() {
	title "What is used, and who uses it"
	cleat volume list
	cleat volume usage db
	cleat volume usage logs
	cleat claim list
	check "both claims name their holder" [ "$(claims_of_ours)" = 2 ]
	say "Deleting a volume in use is refused, and the refusal names the holder:"
	if cleat volume delete db; then fail "a volume in use was deleted"; fi
	check "a volume in use is not deleted, and still there" mountpoint -q "$work/db"
}

restart() {
	local before
	title "Kill the daemon (kill -9) under the published volume; start it again"
	(while echo "still writing" >>"$work/db/journal"; do sleep 0.01; done) 2>/dev/null &
	writer=$!
	await 10 test -s "$work/db/journal" || fail "the writer does not write"
	stop_daemon KILL
	before=$(lines "$work/db/journal")
	check "the volume is still mounted without a daemon" mountpoint -q "$work/db"
	start_daemon
	check "the writer never stopped" kill -0 "$writer"
	check "it went on writing (line $before, now $(lines "$work/db/journal"))" [ "$(lines "$work/db/journal")" -gt "$before" ]
	cleat claim list
	check "the claims are known again" [ "$(claims_of_ours)" = 2 ]
	stop_writer
}

the_end() {
	title "Unpublish, delete, and look whether anything is left"
	cleat volume unpublish db "$work/db"
	cleat volume unpublish logs "$work/logs"
	cleat volume delete db
	cleat volume delete logs
	cleat doctor
	check "no volumes" is_empty volumes volume list --all-scopes
	check "no snapshots" is_empty snapshots snapshot list --all-scopes
	check "no claims" is_empty claims claim list
	check "nothing is mounted at the targets" bash -c "! mountpoint -q '$work/db' && ! mountpoint -q '$work/logs'"
	check "no image of a volume is left" [ -z "$(find "$work/state" -path '*/volumes/*' -o -path '*/new/*' -o -path '*/trash/*')" ]
	stop_daemon TERM
	check "no loop device is left" [ -z "$(loops_here)" ]
	check "no mount is left but the daemon's own directory" [ -z "$(mounts_here | grep -v "^$work/run" || true)" ]
	remove_work || fail "'$work' cannot be removed"
	check "the private directory is gone" [ ! -e "$work" ]
	work=
}

prepare
first_start
create
fill
snapshot_and_restore
expand_xfs
expand_ext4
look
restart
the_end
title "Everything was as it should be"
say "The programs are in $build/bin; README.md tells where to go from here."
say "Tasks with such volumes, under a real Nomad: examples/nomad/run.sh"
