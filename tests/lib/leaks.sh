# leaks.sh - what tests may not leave behind: mounts and bound loop devices.  Sourced by scripts.

# All mount points and bound loop devices, one a line, sorted.
machine_state() {
	{
		awk '{ print "mount " $5 }' /proc/self/mountinfo
		for file in /sys/block/loop*/loop/backing_file; do
			[ -e "$file" ] || continue
			echo "loop $(cat "$file")"
		done
	} 2>/dev/null | sort
}

# Succeeds when nothing is there now that was not in the file BEFORE; prints what is.  The kernel takes a moment to let go of a device, and
# somebody else may be at work on the machine: only what stays for ten seconds counts.
nothing_left_since() { # BEFORE
	local left tries
	left=$(machine_state | comm -13 "$1" -)
	for ((tries = 0; tries < 20; tries++)); do
		[ -n "$left" ] || return 0
		sleep 0.5
		left=$(machine_state | comm -12 <(printf '%s\n' "$left") -)
	done
	printf '%s\n' "$left" | sed 's/^/left behind: /'
	return 1
}
