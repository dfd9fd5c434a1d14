#!/bin/bash
# Tasks with volumes under a real Nomad, on any Debian 12 machine, as root: builds Cleat, starts its daemon and a Nomad agent on loopback and
# a private directory, and runs the jobs beside this script. Their data survives a stop and a start, and kill -9 of plugin, agent and daemon.
# Every step says what it does and is checked; the script ends with 0 only when everything was as it should be, and leaves nothing behind but
# the build folder (and a Nomad, when it had to build one).
#
#   examples/nomad/run.sh [BUILD-FOLDER]               (default: build)
#   NOMAD=/path/of/nomad examples/nomad/run.sh         takes this Nomad; else the one in PATH; else one is built, which takes minutes, once
#   CLEAT_EXAMPLE_DIR=/mnt/big examples/nomad/run.sh   keeps its private directory there instead of in /var/tmp
set -euo pipefail
tree=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
build=$(readlink -m "${1:-$tree/build}")
nomad=$(type -P "${NOMAD:-nomad}" || true) # the program: a function of this name comes below
nomad=${nomad:+$(readlink -f "$nomad")}
cd "$tree"
example=examples/nomad
work=
daemon=
agent=
# shellcheck source=examples/lib.sh
. examples/lib.sh

# ---- Nomad and cleat, shown as a reader would type them ------------------------------------------------------------------------------

cleat() { shown cleat "$@" -- "$build/bin/cleat"; }
nomad() { shown nomad "$@" -- "$nomad" | sed '/^ *$/d; /View this job/d'; }
json() { "$build/bin/cleat" --json "$@"; }
quietly() { "$nomad" "$@" 2>/dev/null; }

what_they_said() {
	local log
	for log in cleatd agent; do
		echo "--- $log said:"
		tail -n 25 "$work/$log.log" 2>/dev/null || true
	done
}

# Ids of a job's allocations in a state.
allocations() { # JOB STATUS
	quietly job allocs -t "{{range .}}{{if eq .ClientStatus \"$2\"}}{{.ID}} {{end}}{{end}}" "$1" | tr ' ' '\n' | sed '/^$/d'
}
runs() { [ "$(allocations "$1" running | wc -l)" = "${2:-1}" ]; } # JOB [COUNT]
await_running() { # JOB [COUNT]
	await 60 runs "$@" || { quietly job status "$1"; fail "job '$1' does not run"; }
}
ended() { [ -z "$(allocations "$1" running; allocations "$1" pending)" ]; } # JOB
in_task() { quietly alloc exec -i=false -t=false -- "$(allocations "$1" running | head -n 1)" "${@:2}"; } # JOB COMMAND...
lines() { in_task journal cat /data/journal | wc -l; }
is_healthy() { quietly node status -self -verbose | grep '^cleat .*true.*true' >/dev/null; }
told() { quietly alloc status "$1" | grep -E 'Volume|Exit Code' | sed 's/^/   /'; } # ALLOCATION: what the driver said of its volumes
has_volume() { json volume list --all-scopes | grep "\"name\": \"$1" >/dev/null; }
no_claims() { json claim list | grep '"claims": \[\]' >/dev/null; }

# ---- processes, found by what only ours have -------------------------------------------------------------------------------------------

plugin_pid() {
	local exe
	for exe in /proc/[0-9]*/exe; do
		[ "$(readlink "$exe" 2>/dev/null)" != "$work/plugins/nomad-driver-cleat" ] || echo "$exe"
	done | cut -d / -f 3
}
# The agent's children bear its environment, also those that outlive it.
agents_children() { grep -lzsx "CLEAT_EXAMPLE=$work" /proc/[0-9]*/environ | cut -d / -f 3 | grep -vx $$ || true; }
task_pid() { sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$work"/driver/tasks/"$(container_of "$1")"/started.json; }
container_of() { basename "$(ls -d "$work"/driver/tasks/"$(allocations "$1" running | head -n 1 | cut -c 1-8)"*)"; }

# ---- leaving nothing behind, however the script ends ------------------------------------------------------------------------------------

stop_process() { # NAME SIGNAL
	local -n pid=$1
	[ -n "$pid" ] || return 0
	kill "-$2" "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	pid=
}

stop_jobs() {
	local job
	for job in journal counter database scratch; do
		quietly job stop -detach "$job" >/dev/null || true
	done
	for job in journal counter database scratch; do
		await 60 ended "$job" || return 1
	done
}

# After a failure: containers that the driver could not remove itself.
remove_containers() {
	local task
	for task in "$work"/driver/tasks/*/; do
		[ -d "$task" ] || continue
		crun --root "$work/driver/tasks/.crun" delete --force "$(basename "$task")" 2>/dev/null || true
	done
}

clean_up() {
	local code=$? pid
	trap - EXIT
	[ -z "$agent" ] || stop_jobs 2>/dev/null || true
	stop_process agent TERM
	if [ -n "$work" ]; then
		remove_containers
		for pid in $(agents_children); do kill -9 "$pid" 2>/dev/null || true; done
	fi
	stop_process daemon TERM
	remove_work || code=1
	exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the steps -----------------------------------------------------------------------------------------------------------------------------

no_nomad() { # EXIT-CODE of what should have built it
	say "no Nomad: install one, or name it by NOMAD=/path/of/nomad"
	exit "$1"
}

prepare() {
	[ "$(id -u)" = 0 ] || fail "must be root: tasks run in containers with mounts"
	title "Install what is missing, and build into $build"
	build_all "$tree" "$build"
	[ -n "$nomad" ] || [ -z "${NOMAD:-}" ] || fail "NOMAD: '$NOMAD' is no program"
	if [ -z "$nomad" ] && ! nomad=$("$tree/tests/lib/nomad.sh" --cached); then
		say "there is no Nomad in PATH, so one is built from its Go module: some minutes, the first time"
		nomad=$("$tree/tests/lib/nomad.sh") || no_nomad $?
	fi
	# What is set for somebody's real cluster must not reach this one.
	unset "${!NOMAD_@}"
	say "$("$nomad" version | head -n 1): $nomad"
	work=$(mktemp -d "${CLEAT_EXAMPLE_DIR:-/var/tmp}/cleat-nomad.XXXXXX")
	mkdir "$work/plugins" "$work/tmp"
	[ "$(df_mib avail "$work")" -gt 3072 ] || fail "needs 3 GiB free in '$(dirname "$work")'; set CLEAT_EXAMPLE_DIR"
	export CLEAT_SOCKET=$work/run/cleat.sock
}

free_port() {
	local port
	while port=$((20000 + RANDOM % 10000)); do
		(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}

start_daemon() {
	"$build/bin/cleatd" --state-dir "$work/state" --runtime-dir "$work/run" --socket "$CLEAT_SOCKET" >>"$work/cleatd.log" 2>&1 &
	daemon=$!
	await 10 "$build/bin/cleat" --timeout 2s version || fail "the daemon does not answer"
}

start_agent() {
	TMPDIR=$work/tmp CLEAT_EXAMPLE=$work setsid "$nomad" agent -config "$work/agent.hcl" </dev/null >>"$work/agent.log" 2>&1 &
	agent=$!
	await 60 is_healthy || fail "Nomad's node does not become ready with a healthy driver"
}

first_start() {
	local http
	title "Start cleatd, and a Nomad agent with the driver in its plugin_dir"
	http=$(free_port)
	cp "$build/bin/nomad-driver-cleat" "$work/plugins/"
	sed -e "s|@WORK@|$work|; s|@BUILD@|$build|; s|@HTTP@|$http|; s|@RPC@|$(free_port)|; s|@SERF@|$(free_port)|" examples/nomad/agent.hcl.in \
		>"$work/agent.hcl"
	export NOMAD_ADDR=http://127.0.0.1:$http
	start_daemon
	start_agent
	sed -n '/^plugin "/,$p' "$work/agent.hcl" | sed 's/^/   /'
	say "What the node says of the driver (jobs can be constrained to it):"
	quietly node status -self -verbose | grep -E '^driver\.cleat' | sed 's/^/   /'
}

journal() {
	local first
	title "A job whose task writes to a volume, which is made for it: journal.nomad.hcl"
	sed -n '/^ *volume {/,/^ *}/p' examples/nomad/journal.nomad.hcl
	nomad job run -detach examples/nomad/journal.nomad.hcl
	await_running journal
	first=$(allocations journal running)
	told "$first"
	in_task journal df -h /data | sed 's/^/   /'
	cleat volume list --scope default
	cleat claim list
	check "the claim names the allocation and the task" grep -q "\"owner\": \"alloc $first task write\"" <<<"$(json claim list)"
	check "it is a file system of its own, not larger than it was asked for" [ "$(in_task journal df --output=size -BM /data |
		tail -n 1 | tr -dc 0-9)" -le 256 ]
}

stop_and_start() {
	local first before
	title "Stop the job, start it again: another allocation, the same data"
	first=$(allocations journal running)
	before=$(lines)
	nomad job stop -detach journal
	await 60 ended journal || fail "the job does not stop"
	told "$first"
	check "the task ended by itself at its signal" grep -q "Exit Code: 0" <<<"$(told "$first")"
	await 10 no_claims || fail "the volume is still claimed"
	say "ok: nobody holds the volume now"
	nomad job run -detach examples/nomad/journal.nomad.hcl
	await_running journal
	in_task journal tail -n 3 /data/journal | sed 's/^/   /'
	check "the journal goes on: $before lines and the last words of the first, now $(lines)" [ "$(lines)" -gt "$before" ]
	check "the first allocation's last words are there" in_task journal grep -q "a last line by" /data/journal
}

# The task must not notice: the same process, and its journal grows.
untouched() { # WHAT PID LINES
	check "$1: the task's process is the same" [ "$(task_pid journal)" = "$2" -a -d "/proc/$2" ]
	await 10 grows "$3" || fail "$1: the journal does not grow"
	say "ok: $1: it went on writing (line $3, now $(lines))"
}
grows() { [ "$(lines)" -gt "$1" ]; }

kills() {
	local pid before plugin
	title "kill -9 of the plugin, of the agent, of the daemon, and of all three at once"
	pid=$(task_pid journal)
	before=$(lines)
	plugin=$(plugin_pid)
	say "the task is process $pid; the plugin $plugin, the agent $agent, the daemon $daemon"

	kill -9 "$plugin"
	await 60 another_plugin "$plugin" || fail "Nomad does not start another plugin"
	await 60 lines || fail "no commands in the task"
	untouched "plugin killed" "$pid" "$before"

	before=$(lines)
	stop_process agent KILL
	start_agent
	await 60 lines || fail "no commands in the task"
	untouched "agent killed" "$pid" "$before"

	before=$(lines)
	stop_process daemon KILL
	check "daemon killed: the volume is still mounted, and written to" in_task journal touch /data/without-a-daemon
	start_daemon
	untouched "daemon killed" "$pid" "$before"

	before=$(lines)
	stop_process agent KILL
	kill -9 "$(plugin_pid)"
	stop_process daemon KILL
	check "all killed: the task runs" [ -d "/proc/$pid" ]
	start_daemon
	start_agent
	await 60 lines || fail "no commands in the task"
	untouched "all killed" "$pid" "$before"
}
another_plugin() { [ -n "$(plugin_pid)" ] && [ "$(plugin_pid)" != "$1" ] && is_healthy; }

visit() { # INSTANCE: asks it by the address that Nomad's service discovery has
	local answer address
	for address in $(quietly service info -t '{{range .}}{{.Address}}:{{.Port}} {{end}}' counter); do
		{ exec 3<>"/dev/tcp/${address%:*}/${address#*:}"; } 2>/dev/null || continue
		printf 'GET / HTTP/1.0\r\n\r\n' >&3
		answer=$(tail -n 1 <&3)
		exec 3<&-
		[ "${answer%%:*}" != "instance $1" ] || echo "$answer"
	done
}
visited() { [ -n "$(visit 0)" ] && [ -n "$(visit 1)" ]; }
visits_of() { awk '{ print $NF }' <<<"$1"; }
restarted() { quietly alloc status "$1" | grep "Restart Signaled" >/dev/null; } # ALLOCATION

counter() {
	local alloc before after
	title "A service of two instances, each with a volume of its own: counter.nomad.hcl"
	nomad job run -detach examples/nomad/counter.nomad.hcl
	await_running counter 2
	await 60 visited || fail "the service does not answer"
	visit 1 >/dev/null
	say "$(visit 0)"
	before=$(visit 1)
	say "$before"
	say "Restart both tasks:"
	for alloc in $(allocations counter running); do
		nomad alloc restart "${alloc:0:8}"
		await 20 restarted "$alloc" || fail "no restart"
	done
	await 60 visited || fail "the service does not answer"
	say "$(visit 0)"
	after=$(visit 1)
	say "$after"
	check "the visits before the restart are not forgotten" [ "$(visits_of "$after")" -gt "$(visits_of "$before")" ]
	cleat volume list --scope default
}

database() {
	title "What a database asks of its storage: database.nomad.hcl"
	nomad job run -detach examples/nomad/database.nomad.hcl
	await_running database
	await 20 says database "ready to accept connections" || fail "the database does not start: $(says database .)"
	quietly alloc logs "$(allocations database running)" | sed 's/^/   /'
	in_task database ls -ldn /var/lib/postgresql /var/lib/postgresql-wal | sed 's/^/   /'
	in_task database df -hT /var/lib/postgresql /var/lib/postgresql-wal | sed 's/^/   /'
}
says() { quietly alloc logs "$(allocations "$1" running)" | grep "$2"; } # JOB PATTERN

scratch() {
	local alloc
	title "Room for one run, as large as it says and no larger: scratch.nomad.hcl"
	nomad job run -detach examples/nomad/scratch.nomad.hcl
	await 60 complete scratch || fail "the job does not complete"
	alloc=$(allocations scratch complete)
	quietly alloc logs "$alloc" | sed 's/^/   /'
	check "the task met 'No space left on device'" grep -q "No space left" <<<"$(quietly alloc logs "$alloc")"
	check "its volume is there as long as Nomad keeps the allocation" has_volume "scratch-$alloc"
	quietly job stop -detach -purge scratch >/dev/null
	nomad system gc
	await 60 no_volume "scratch-$alloc" || fail "the volume is not deleted"
	say "ok: the allocation's directory is gone, and so is its volume"
}
complete() { [ -n "$(allocations "$1" complete)" ]; }
no_volume() {
	local list
	list=$(json volume list --all-scopes) && ! grep -q "\"name\": \"$1" <<<"$list"
}

the_end() {
	local name
	title "Stop everything, and look whether anything is left"
	stop_jobs || fail "a job does not stop"
	await 20 no_claims || fail "a volume is still claimed"
	say "ok: every volume is released; the data is still there:"
	cleat volume list --scope default
	for name in journal visits-0 visits-1 pgdata pgwal; do json volume delete "default/$name" --scope default >/dev/null; done
	check "no tasks are left" [ -z "$(ls "$work/driver/tasks" "$work/driver/records" "$work/driver/mounts" | grep -v : || true)" ]
	cleat doctor
	stop_process agent TERM
	check "no process is left but the daemon" [ -z "$(agents_children)" ]
	stop_process daemon TERM
	check "no loop device is left" [ -z "$(loops_here)" ]
	remove_work || fail "'$work' cannot be unmounted"
	check "the private directory is gone" [ ! -e "$work" ]
	work=
}

prepare
first_start
journal
stop_and_start
kills
counter
database
scratch
the_end
title "Everything was as it should be. docs/nomad.md tells how to install the driver and what a job can say."
