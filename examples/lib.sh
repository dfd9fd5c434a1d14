# What the example scripts share: saying, checking, waiting, and a private directory of which nothing is left.  Sourced, with these set:
#   example   the script's name, for messages
#   work      its private directory, or empty
# shellcheck shell=bash

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say() { printf '   %s\n' "$*"; }

# A script may define what_they_said(), to show the ends of logs.
fail() {
	printf '\n%s: FAILED: %s\n' "$example" "$*" >&2
	! declare -F what_they_said >/dev/null || what_they_said >&2
	exit 1
}
check() { # DESCRIPTION COMMAND...: the command must succeed
	local what=$1
	shift
	"$@" || fail "$what"
	say "ok: $what"
}
# Shows a command as a reader would type it, and runs another one, with the output moved in.
shown() { # NAME ARGUMENT... -- PROGRAM [OPTION...]; the arguments go to both
	local name=$1 args=() line=
	shift
	while [ "$1" != -- ]; do args+=("$1") && shift; done
	shift
	[ ${#args[@]} = 0 ] || line=$(printf ' %q' "${args[@]}")
	printf '   \033[36m$ %s%s\033[0m\n' "$name" "$line"
	"$@" "${args[@]}" 2>&1 | sed 's/^/   /'
}

# Waits until a command succeeds, at most so many seconds.
await() { # SECONDS COMMAND...
	local until=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ $SECONDS -le $until ] || return 1
		sleep 0.05
	done
}

build_all() { # TREE BUILD-FOLDER
	"$1/packaging/install-packages.sh" build
	cmake -S "$1" -B "$2" -G Ninja -DCLEAT_TESTS=OFF >"$2.log" 2>&1 || { cat "$2.log"; fail "cmake"; }
	ninja -C "$2" >>"$2.log" 2>&1 || { tail -n 40 "$2.log"; fail "the build"; }
	rm -f "$2.log"
	say "$("$2/bin/cleat" --version)"
}

df_mib() { df --output="$1" -B1M "$2" | tail -n 1 | tr -d ' '; } # COLUMN PATH
mounts_here() { awk -v w="$work/" 'index($5, w) == 1 { print $5 }' /proc/self/mountinfo; }
loops_here() { losetup --list --noheadings --output NAME,BACK-FILE | awk -v w="$work/" 'index($2, w) == 1'; }

# Unmounts what lies in our private directory, the innermost first; loop devices go with their mounts.
unmount_all() {
	local m tries
	for ((tries = 0; tries < 20; tries++)); do
		[ -n "$(mounts_here)" ] || return 0
		while read -r m; do umount "$m" 2>/dev/null || true; done < <(mounts_here | sort -r)
		sleep 0.1
	done
	return 1
}

# The private directory goes; exit code 1 when it cannot.
remove_work() {
	[ -n "$work" ] || return 0
	if unmount_all; then
		rm -rf --one-file-system "$work"
	else
		echo "$example: still mounted, so '$work' is left: $(mounts_here | tr '\n' ' ')" >&2
		return 1
	fi
}
