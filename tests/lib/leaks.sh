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

# Succeeds when nothing is there now that was not in the file BEFORE; prints what is.
nothing_left_since() { # BEFORE
	local left
	left=$(machine_state | comm -13 "$1" -)
	[ -z "$left" ] && return 0
	printf 'left behind: %s\n' "$left"
	return 1
}
