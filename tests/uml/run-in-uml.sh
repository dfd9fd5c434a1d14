#!/bin/bash
# Runs the conformance suite, and the unit tests that depend on the kernel, under the 6.1 kernel of User Mode Linux (Debian package
# user-mode-linux), where ext4 grows online and project quota works, and where statmount and simple quota do not exist.
#
#   tests/uml/run-in-uml.sh BUILD [FIXTURE...]
#
# The guest sees the host's root read-only through hostfs, with a tmpfs over it; nothing it does reaches the host.  One processor, slow forks, no
# sanitizers.  Exit code: 0 all passed, 77 cannot run here (with the reason), else a failure.
set -u
build=$(readlink -f "${1:?the build folder}")
shift
units="backends_project_test backends_btrfs_test backends_dir_test sys_file_test sys_loop_test sys_mount_test sys_probe_test fs_fs_test"
fixtures=${*:-loop-xfs loop-ext4 dir-prjquota dir-xfsquota dir-btrfs btrfs}
modules="loop xfs btrfs overlay quota_v2"
limit_s=${CLEAT_UML_LIMIT_S:-900}
linux=$(command -v linux.uml) || { echo "SKIPPED BECAUSE: user-mode-linux is not installed"; exit 77; }
mods=$(find /usr/lib/uml/modules -mindepth 1 -maxdepth 1 -type d | head -n 1)
[ -n "$mods" ] || { echo "SKIPPED BECAUSE: user-mode-linux has no modules in /usr/lib/uml/modules"; exit 77; }
version=$(basename "$mods")

job=$(mktemp -d /var/tmp/cleat-uml.XXXXXX)
trap 'rm -rf "$job"' EXIT
mkdir -p "$job"/{rw,root,mods/lib/modules}
ln -s "$mods" "$job/mods/lib/modules/$version"
depmod -b "$job/mods" "$version"

# First: a writable root over the host's.
cat >"$job/init" <<INIT
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
modprobe -d "$job/mods" overlay
mount -t tmpfs -o size=80% tmpfs $job/rw
mkdir -p $job/rw/u $job/rw/w
mount -t overlay -o lowerdir=/,upperdir=$job/rw/u,workdir=$job/rw/w overlay $job/root
cd $job/root
mount -n --move /proc proc
mount -n --move /sys sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o size=80% tmpfs run
mkdir run/build
mount --bind ./$build run/build
mkdir run/job
mount --bind ./$job run/job
mount -t tmpfs -o size=80% tmpfs tmp
mkdir -p lib/modules/$version
mount --bind "$mods" lib/modules/$version
exec chroot . /bin/bash /run/job/inside
INIT

# Then: the suite, one fixture after the other; the last line tells the host how it went.
cat >"$job/inside" <<INSIDE
cd /
for m in $modules; do modprobe \$m || echo "no module \$m"; done
# The programs look for the library where they were built, which the guest does not see.
export TMPDIR=/tmp CLEAT_EXPECT_EXT4_ONLINE=1 LD_LIBRARY_PATH=/run/build/lib
failed=0
for fixture in $fixtures; do
	echo "== \$(uname -r): \$fixture"
	/run/build/bin/conformance ${CLEAT_UML_QUICK:+--quick} --backend \$fixture || failed=\$((failed + 1))
done
for unit in $units; do
	echo "== \$(uname -r): \$unit"
	/run/build/bin/\$unit || failed=\$((failed + 1))
done
echo "GUEST-FAILED \$failed"
echo o >/proc/sysrq-trigger
while :; do read -r -t 5 _; done
INSIDE
chmod +x "$job/init"

# The guest's memory is a file that is mapped executable: on a tmpfs when there is room, else on the disk.
memory_mib=${CLEAT_UML_MIB:-1536}
memory=/dev/shm
[ "$(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt "$memory_mib" ] 2>/dev/null &&
	! findmnt -n -o OPTIONS -T /dev/shm | grep -q noexec || memory=$job
TMPDIR=$memory timeout "$limit_s" "$linux" mem="${memory_mib}M" root=/dev/root rootfstype=hostfs rootflags=/ ro init="$job/init" \
	con=null con0=fd:0,fd:1 con1=null quiet panic=-1 loglevel=3 umid="$(basename "$job")" </dev/null 2>&1 |
	tr -d '\r' | tee "$job/log" | grep -av -e mmapper_init -e 'ubd device 0'
failed=$(sed -n 's/^GUEST-FAILED \([0-9]*\)$/\1/p' "$job/log" | tail -n 1)
[ -n "$failed" ] || { echo "the guest did not come to its end"; exit 1; }
[ "$failed" -eq 0 ]
