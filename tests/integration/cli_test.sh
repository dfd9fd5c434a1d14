#!/bin/bash
# Every verb of the command against a real daemon: what it prints, valid JSON, exit codes, and what bad input gets.
#
#   cli_test.sh CLEAT CLEATD
set -uo pipefail
cleat=$1
cleatd=$2
[ "$(id -u)" = 0 ] || { echo "skipped: must be root to mount"; exit 77; }
[ -w /dev/loop-control ] || { echo "skipped: no loop devices"; exit 77; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/cleat-cli-test.XXXXXX")
socket=$work/run/cleat.sock
daemon=
bad=0
out=
err=

mounts_here() { awk -v w="$work/" 'index($5, w) == 1 { print $5 }' /proc/self/mountinfo; }

clean_up() {
	trap - EXIT
	[ -z "$daemon" ] || { kill "$daemon" 2>/dev/null; wait "$daemon" 2>/dev/null; }
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ -n "$(mounts_here)" ] || break
		mounts_here | sort -r | while read -r m; do umount "$m" 2>/dev/null; done
	done
	[ "$bad" = 0 ] || { echo "--- the daemon said:"; tail -n 20 "$work/log"; } >&2
	if [ -z "$(mounts_here)" ]; then rm -rf --one-file-system "$work"; else
		echo "cli_test: still mounted below $work" >&2
		bad=1
	fi
	exit "$bad"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

complain() {
	echo "cli_test:${BASH_LINENO[1]}: $*" >&2
	bad=1
}

# CODE ARGUMENT...: runs the command and compares its exit code; $out and $err are what it printed.
run() {
	local want=$1 code=0
	shift
	out=$("$cleat" --socket "$socket" "$@" 2>"$work/err") || code=$?
	err=$(cat "$work/err")
	[ "$code" = "$want" ] || complain "cleat $*: exit code $code, not $want: $out $err"
	[ "$want" = 0 ] || grep -q "^cleat: " "$work/err" || complain "cleat $*: no error line: $err"
	[ "$want" != 0 ] || [ -z "$err" ] || complain "cleat $*: speaks on stderr: $err"
}

# The same with --json: one JSON value on the right stream.
json() {
	local want=$1 code=0
	shift
	out=$("$cleat" --json --socket "$socket" "$@" 2>"$work/err") || code=$?
	err=$(cat "$work/err")
	[ "$code" = "$want" ] || complain "cleat --json $*: exit code $code, not $want: $out $err"
	if [ "$want" = 0 ]; then
		python3 -m json.tool <<<"$out" >/dev/null || complain "cleat --json $*: no JSON: $out"
	else
		python3 -m json.tool <<<"$err" >/dev/null || complain "cleat --json $*: no JSON error: $err"
		[ "$(value 'd["error"]["exit_code"]' <<<"$err")" = "$want" ] || complain "cleat --json $*: the error has another exit code: $err"
	fi
}

value() { python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; } # EXPRESSION on d
says() { [[ "$out$err" == *"$1"* ]] || complain "lacks '$1': $out $err"; }
is() { # EXPRESSION VALUE: of the JSON in $out
	local got
	got=$(value "$1" <<<"$out")
	[ "$got" = "$2" ] || complain "$1 is '$got', not '$2'"
}

# ---- without a daemon ----------------------------------------------------------------------------------------------------------

run 6 volume list
says "no daemon at '$socket'"
json 6 pool list
run 6 version
says "client: "
run 6 watch
run 2 --socket "/$(printf 'x%.0s' {1..120})" volume list

# ---- the command line ------------------------------------------------------------------------------------------------------------

run 2
run 2 nonsense
run 2 volume
run 2 volume nonsense
run 2 volume create
run 2 volume create a b
run 2 volume create a --nonsense
says "'--nonsense'"
json 2 volume create a --size
run 2 volume create a --size -5
run 2 volume create a --size 12x
run 2 volume create a --size 99999999999999999999
run 2 volume create a --access file
run 2 volume create a --label novalue
run 2 volume publish a --access-mode many
run 2 volume expand a much
run 2 volume modify a
run 2 snapshot create a
run 2 watch --after nonsense
run 2 --timeout never volume list
run 0 --help
run 0 --version
run 0 volume --help
for verb in $("$cleat" --help | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p' | tr ' ' _); do
	# shellcheck disable=SC2086 # two words, or one
	run 0 ${verb//_/ } --help
	says "Usage: cleat ${verb//_/ }"
done

# ---- a daemon with a loop pool and a dir pool --------------------------------------------------------------------------------------

cat >"$work/cleatd.conf" <<CONF
any_namespace: true
pools:
  default:
    backend: loop
  plain:
    backend: dir
  slow:
    backend: dir
    layer: fault
CONF
CLEAT_FAULT=create=delay:1500 "$cleatd" --config "$work/cleatd.conf" --state-dir "$work/state" --runtime-dir "$work/run" --node node-1 >"$work/log" 2>&1 &
daemon=$!
for _ in $(seq 300); do
	"$cleat" --socket "$socket" --timeout 2s version >/dev/null 2>&1 && break
	sleep 0.1
done

run 0 version
says "daemon: "
json 0 version
is 'd["daemon"]["node"]' node-1
CLEAT_SOCKET=$socket "$cleat" volume list >/dev/null || complain "CLEAT_SOCKET is not obeyed"

run 0 pool list
says "default (default)"
json 0 pool list
is 'sorted(p["backend"] for p in d["pools"])' "['dir', 'dir', 'loop']"
is 'all(p["online"] for p in d["pools"])' True
run 0 pool show
says "loop"
json 0 pool show plain --refresh
is 'd["pool"]["name"]' plain
is '"mount" in d["pool"]["capabilities"]' True
run 3 pool show nonsense
run 0 params
says "overcommit"
says "file system ext4"
json 0 params loop
is 'd["backends"][0]["backend"]' loop
run 0 operation list
json 0 operation list
run 0 doctor

# ---- volumes -------------------------------------------------------------------------------------------------------------------

run 0 volume create db --size 64MiB --label team=search --label old=1 --uid 12 --gid 13 --mode 0750
says "created 'default/db'"
run 0 volume create db --size 64MiB --label team=search --label old=1 --uid 12 --gid 13 --mode 0750
says "exists as asked for"
run 5 volume create db --size 128MiB
run 5 volume create db --fs xfs --size 64MiB
json 5 volume create default/db --size 1GiB
run 2 volume create default/db --pool plain
run 2 volume create x --size 64MiB --param nonsense=1
says "nonsense"
run 2 volume create x --fs fat
run 3 volume create nonsense/x --size 64MiB
run 8 volume create huge --size 1EiB
run 2 volume create default/a/b --size 64MiB
run 2 volume create default/.. --size 64MiB
run 2 volume create "default/$(printf 'a\tb')" --size 64MiB
run 2 volume create "default/$(printf 'n%.0s' {1..300})" --size 64MiB
run 0 -q volume create plain/files
id=$out
[[ $id =~ ^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$ ]] || complain "-q printed '$id'"
run 4 volume create plain/hard --size 1GiB --hard-size
run 0 volume create other --size 64MiB --scope ns1

run 0 volume show db
says "team = search"
json 0 volume show db
is 'd["volume"]["capacity_bytes"]' 67108864
is 'd["volume"]["labels"]["old"]' 1
is 'd["volume"]["access_type"]' mount
is 'd["volume"]["created"][-1]' Z
db=$(value 'd["volume"]["id"]' <<<"$out")
json 0 volume show "$db"
is 'd["volume"]["name"]' db
json 0 volume show "$id"
is 'd["volume"]["name"]' files
run 3 volume show nonsense
says "nonsense"
json 3 volume show default/nonsense
run 3 volume show other
run 0 volume show other --scope ns1

json 0 volume list
is 'sorted(v["name"] for v in d["volumes"])' "['db', 'files']"
is '"next_page_token" in d' False
json 0 volume list --all-scopes --pool default
is 'sorted(v["name"] for v in d["volumes"])' "['db', 'other']"
json 0 volume list --scope ns1 --name other
is 'len(d["volumes"])' 1
run 0 volume list
says "default/db"
"$cleat" --socket "$socket" volume list >/dev/full 2>/dev/null && complain "a full disk is no error"

run 0 volume modify db --label team=ads --remove-label old
json 0 volume show db
is 'd["volume"]["labels"]' "{'team': 'ads'}"
run 2 volume modify db --param fs=xfs
run 3 volume modify nonsense --label a=b

# More than one page of a list.
seq 205 | xargs -P 4 -I{} "$cleat" --socket "$socket" -q volume create "plain/many{}" >/dev/null || complain "create of many"
json 0 volume list --pool plain
is 'len({v["id"] for v in d["volumes"]})' 206
[ "$("$cleat" --socket "$socket" volume list --pool plain | wc -l)" = 207 ] || complain "the table has not all pages"
seq 205 | xargs -P 4 -I{} "$cleat" --socket "$socket" -q volume delete "plain/many{}" >/dev/null || complain "delete of many"

# ---- publish, claims ------------------------------------------------------------------------------------------------------------

mkdir "$work/t"
run 0 volume publish db "$work/t/db" --owner "test owner" --option noatime
[ "$out" = "$work/t/db" ] || complain "publish printed '$out'"
[ "$(stat -c '%u %g %a' "$work/t/db")" = "12 13 750" ] || complain "owner and mode: $(stat -c '%u %g %a' "$work/t/db")"
run 0 volume publish db "$work/t/db" --owner "somebody else" --option noatime
run 5 volume publish db "$work/t/db" --read-only
run 0 volume publish db "$work/t/again" --read-only
touch "$work/t/again/x" 2>/dev/null && complain "--read-only is writable"
run 4 volume publish db "$work/t/third" --access-mode single-node-single-writer
says "in use"
run 4 volume publish plain/files "$work/t/db"
run 1 volume publish plain/files /usr/cleat-test
run 4 volume publish plain/files "$work/t/no/such"
ln -s "$work/t" "$work/link"
run 2 volume publish plain/files "$work/link/x"
run 2 volume publish plain/files relative
run 2 volume publish plain/files "$work/t/../x"
run 1 volume publish db "$work/t/db2" --option suid
run 2 volume publish db "$work/t/db2" --option nonsense
run 3 volume publish nonsense
run 4 volume delete db
says "in use: published at"
json 4 volume delete db
run 0 claim list
says "test owner"
json 0 claim list db
is 'sorted(c["target"] for c in d["claims"])' "['$work/t/again', '$work/t/db']"
is '[c["mode"] for c in d["claims"] if c["target"].endswith("/db")][0]' single-node-writer
json 0 claim list plain/files
is 'd["claims"]' "[]"
run 0 volume usage db
says "bytes"
json 0 volume usage db
is '0 < d["total_bytes"] <= 67108864' True
exec 7>"$work/t/db/held"
run 4 volume unpublish db "$work/t/db"
says "busy"
exec 7>&-
run 0 claim release db "$work/t/again"
[ ! -e "$work/t/again" ] || complain "the target that was made is left"
run 0 volume unpublish db "$work/t/db"
run 0 volume unpublish db "$work/t/db"
json 0 claim list
is 'd["claims"]' "[]"

run 0 volume publish db
chosen=$out
mountpoint -q "$chosen" || complain "the chosen target '$chosen' is no mount"
run 0 volume unpublish db

# A claim whose witness is gone is stale.
sleep 1000 &
witness=$!
run 0 volume publish db "$work/t/db" --pid "$witness" --access-mode single-node-single-writer
kill "$witness"
wait "$witness" 2>/dev/null
run 0 volume publish db "$work/t/db2" --access-mode single-node-single-writer --cgroup /sys/fs/cgroup
run 0 volume unpublish db "$work/t/db2"

run 0 volume stage db
run 0 volume stage db "$work/t/stage" --owner stager
json 0 claim list db
is '[c["staging"] for c in d["claims"]]' "[True]"
run 0 volume unstage db "$work/t/stage"
run 0 volume unstage db
run 0 volume attach db --access-mode single-node-writer
json 0 volume show db
is 'd["volume"]["attachments"][0]["node"]' node-1
run 0 volume detach db
run 0 volume detach db

# ---- snapshots, clones, growth ----------------------------------------------------------------------------------------------------

run 0 volume publish db "$work/t/db"
echo first >"$work/t/db/file"
run 0 snapshot create db s1 --label kind=test
says "took 'default/s1'"
run 0 snapshot create db s1 --label kind=test
says "exists as asked for"
echo second >"$work/t/db/file"
run 0 volume create db2 --size 64MiB
run 0 snapshot create --group g1 db db2
json 0 snapshot list
is 'len(d["snapshots"])' 3
is 'len([s for s in d["snapshots"] if s["group"]])' 2
json 0 snapshot list db
is 'len(d["snapshots"])' 2
run 0 snapshot list db2
json 0 snapshot show s1
is 'd["snapshot"]["labels"]["kind"]' test
run 0 snapshot show default/s1
says "snapshot of"
run 3 snapshot show nonsense
run 3 snapshot create nonsense s2
run 0 volume clone default/s1 restored
run 0 volume publish restored "$work/t/restored"
[ "$(cat "$work/t/restored/file")" = first ] || complain "the clone has '$(cat "$work/t/restored/file")'"
run 0 volume create copy --from db
run 0 volume create copy --from db
run 3 volume clone default/nonsense c2
run 0 volume unpublish restored "$work/t/restored"
run 0 volume expand restored 128MiB
run 0 volume publish restored "$work/t/restored"
[ "$(df --output=size -B1M "$work/t/restored" | tail -n 1)" -gt 90 ] || complain "restored did not grow"
run 0 volume unpublish restored "$work/t/restored"
run 0 volume expand restored 1MiB
json 0 volume expand restored 128MiB
is 'd["volume"]["capacity_bytes"]' 134217728
run 8 volume expand restored 1EiB
run 0 volume health db
json 0 volume health db
is 'd["healthy"]' True
run 3 volume health nonsense

# ---- block access, adoption --------------------------------------------------------------------------------------------------------

run 0 volume create raw --size 16MiB --access block --thick
run 0 volume publish raw "$work/t/raw"
[ "$(blockdev --getsize64 "$work/t/raw")" = 16777216 ] || complain "the block volume has $(blockdev --getsize64 "$work/t/raw") bytes"
run 0 volume unpublish raw "$work/t/raw"
run 2 volume create raw2 --access block --fs ext4
truncate -s 64M "$work/old.img"
mke2fs -q -F -t ext4 "$work/old.img" || complain "mke2fs"
run 0 volume adopt "$work/old.img" default/old
run 0 volume adopt "$work/old.img" default/old
json 0 volume show old
is 'd["volume"]["adopted"]' True
run 3 volume adopt "$work/none.img" default/none

# ---- events -------------------------------------------------------------------------------------------------------------------------

# Up to the event that the modify makes; --timeout ends a watch that sees nothing, without an error.
"$cleat" --socket "$socket" --json --timeout 20s watch db --count 1 >"$work/events" 2>"$work/err" &
watcher=$!
for n in $(seq 100); do
	run 0 volume modify db --label "n=$n"
	kill -0 "$watcher" 2>/dev/null || break
done
wait "$watcher" || complain "watch: exit code $?: $(cat "$work/err")"
out=$(cat "$work/events")
[ "$(wc -l <"$work/events")" = 1 ] || complain "watch --count 1 printed $(wc -l <"$work/events") lines"
is '"kind" in d and d["number"] > 0' True
after=$(value 'd["epoch"] + ":" + str(d["number"] - 1)' <<<"$out")
json 0 watch --after "$after" --count 1
is 'd["epoch"] + ":" + str(d["number"] - 1)' "$after"
run 0 watch --timeout 100ms
run 1 watch --after "0000:1" --timeout 5s

# ---- out of time: the operation goes on, and the same command joins it ---------------------------------------------------------------------------------------------------------------------

run 7 --timeout 300ms volume create slow/a
says "goes on in the daemon"
run 0 operation list
says "create volume"
run 0 volume create slow/a

# ---- progress: only on a terminal, and gone at the end ----------------------------------------------------------------------------------

if command -v script >/dev/null; then
	out=$(script -qec "'$cleat' --socket '$socket' volume create slow/b" /dev/null </dev/null)
	says "create ... 0 s"
	says "created 'slow/b'"
	[[ $out != *"create ... "*$'\n'* || ${out##*$'\e[K'} == created* ]] || complain "the progress line is left: $out"
	out=$(script -qec "'$cleat' --socket '$socket' -q volume create slow/c" /dev/null </dev/null)
	[[ $out != *...* ]] || complain "--quiet shows progress: $out"
fi

# ---- and gone -----------------------------------------------------------------------------------------------------------------------

run 0 volume unpublish db "$work/t/db"
for snapshot in $("$cleat" --socket "$socket" --json snapshot list --all-scopes | value '" ".join(s["id"] for s in d["snapshots"])'); do
	run 0 snapshot delete "$snapshot"
	run 0 snapshot delete "$snapshot"
	says "was gone already"
done
run 0 volume delete other --scope ns1
for name in db db2 copy restored raw old slow/a slow/b slow/c plain/files; do
	run 0 volume delete "$name"
done
run 0 volume delete db
json 0 volume list --all-scopes
is 'd["volumes"]' "[]"
run 0 doctor
says "no problems"
json 0 doctor --fix
is 'd["findings"]' "[]"

kill "$daemon"
wait "$daemon" || complain "cleatd ended with $?"
daemon=
run 6 volume list
