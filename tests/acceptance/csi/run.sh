#!/bin/bash
# Runs csi-sanity against a real cleatd: a loop pool on a reflink XFS, volumes with fs=xfs for mount access, and block access.
#
#   tests/acceptance/csi/run.sh CLEATD [mount|block]...     (both without a word)
#
# The tool is built once from its Go module into ${XDG_CACHE_HOME:-~/.cache}/cleat-tests, or below CLEAT_TEST_CACHE.  Sizes: the smallest file system that mkfs.xfs
# makes has 300 MiB, so volumes have 320 MiB and grow to 384 MiB; all of it lies in a sparse image of 24 GiB.
# Full marks are 102 passed, none failed, none skipped (one more is switched off for everybody in the tool itself); anything else is a failure.
# Exit code 77: skipped, with the reason.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cleatd=$(readlink -f "${1:?usage: run.sh CLEATD [mount|block]...}")
shift
kinds=${*:-mount block}
want_passed=102
volume_bytes=$((320 << 20))
expanded_bytes=$((384 << 20))
attach_limit=3

skip() { echo "csi-sanity: skipped: $*"; exit 77; }
fail() { echo "csi-sanity: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || skip "must be root: volumes are mounted"
[ -e /dev/loop-control ] || skip "no loop devices"

# ---- the tool ----

cache=${CLEAT_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cleat-tests}
version=$(sed -n 's|.*kubernetes-csi/csi-test/v5 \(v[0-9.]*\).*|\1|p' "$here/go.mod")
sanity=$cache/csi-sanity-$version
if [ ! -x "$sanity" ]; then
	go=$("$here/../../lib/go.sh") || exit $?
	mkdir -p "$cache"
	# Modules are fetched as go.sum says, into the cache; appears under its name only when it is whole.
	(cd "$here" && GOFLAGS=-mod=readonly "$go" build -o "$sanity.$$" github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity) ||
		fail "cannot build csi-sanity $version"
	mv "$sanity.$$" "$sanity"
fi

# ---- the daemon, on an XFS of its own ----

work=$(mktemp -d /tmp/cleat-csi-XXXXXX)
daemon=
clean_up() {
	local code=$?
	trap - EXIT
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	fi
	if [ "$code" != 0 ] && [ "$code" != 77 ] && [ -e "$work/log" ]; then
		echo "---- the end of cleatd's log" >&2
		tail -n 40 "$work/log" >&2
	fi
	# Deepest first; what the daemon left mounted is a failure of its own, seen by who runs this.
	awk -v top="$work/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r path; do
		umount -l "$path" || true
	done
	rm -rf "$work"
	exit "$code"
}
trap clean_up EXIT

truncate -s 24G "$work/base.img"
mkfs.xfs -q -m reflink=1 "$work/base.img"
mkdir "$work/base"
mount -o loop "$work/base.img" "$work/base"
cat >"$work/conf" <<END
pools:
  sanity:
    backend: loop
    path: $work/base
csi:
  socket: $work/csi.sock
  max_volumes: $attach_limit
END
"$cleatd" --any-namespace --config "$work/conf" --state-dir "$work/state" --runtime-dir "$work/run" --socket "$work/cleat.sock" \
	--node sanity-node >"$work/log" 2>&1 &
daemon=$!
for _ in $(seq 300); do
	[ -S "$work/csi.sock" ] && break
	kill -0 "$daemon" 2>/dev/null || fail "cleatd has ended"
	sleep 0.1
done
[ -S "$work/csi.sock" ] || fail "cleatd does not listen"

# ---- the runs ----

echo 'fs: xfs' >"$work/mount.params"
echo 'pool: sanity' >"$work/block.params"
echo 'allow_scopes: "team-a,team-b"' >"$work/mutable.params"
cat >"$work/secrets" <<END
$(for call in CreateVolume DeleteVolume ControllerPublishVolume ControllerUnpublishVolume ControllerValidateVolumeCapabilities NodeStageVolume \
	NodePublishVolume CreateSnapshot DeleteSnapshot ControllerExpandVolume ControllerModifyVolume ListSnapshots GetSnapshot; do
	printf '%sSecret:\n  secretKey: not-to-be-logged-%s\n' "$call" "$call"
done)
END

one_run() { # KIND
	local kind=$1 passed failed skipped since=$SECONDS
	"$sanity" --csi.endpoint "unix://$work/csi.sock" --csi.mountdir "$work/mnt" --csi.stagingdir "$work/stage" \
		--csi.testvolumesize "$volume_bytes" --csi.testvolumeexpandsize "$expanded_bytes" --csi.testvolumeaccesstype "$kind" \
		--csi.testvolumeparameters "$work/$kind.params" --csi.testvolumemutableparameters "$work/mutable.params" \
		--csi.testnodevolumeattachlimit --csi.secrets "$work/secrets" --ginkgo.no-color --ginkgo.json-report "$work/$kind.json" \
		>"$work/$kind.out" 2>&1 || true
	[ -s "$work/$kind.json" ] || { tail -n 40 "$work/$kind.out"; fail "$kind: no report"; }
	# From the tool's own report, said as cmocka would, so that each counts as a test; one of them is pending for everybody.
	python3 - "$kind" "$work/$kind.json" "$work/$kind.counts" <<'END'
import collections, json, re, sys
kind, report, counts = sys.argv[1:]
specs = [s for suite in json.load(open(report)) for s in suite["SpecReports"] if s["LeafNodeType"] == "It" and s["State"] != "pending"]
states = collections.Counter(s["State"] for s in specs)
for s in specs:
    name = re.sub(r"[^A-Za-z0-9]+", "_", " ".join([kind, *s["ContainerHierarchyTexts"], s["LeafNodeText"]])).strip("_")
    print("[ RUN      ]", name)
    if s["State"] != "passed":
        print("skipped:" if s["State"] == "skipped" else "", s.get("Failure", {}).get("Message", ""))
    print({"passed": "[       OK ]", "skipped": "[  SKIPPED ]"}.get(s["State"], "[  FAILED  ]"), name)
with open(counts, "w") as f:
    print(states["passed"], len(specs) - states["passed"] - states["skipped"], states["skipped"], file=f)
END
	read -r passed failed skipped <"$work/$kind.counts"
	echo "csi-sanity $version, $kind access, $((volume_bytes >> 20)) MiB growing to $((expanded_bytes >> 20)) MiB: $passed passed, $failed failed," \
		"$skipped skipped ($((SECONDS - since)) s)"
	[ "$passed $failed $skipped" = "$want_passed 0 0" ] || { tail -n 60 "$work/$kind.out" >&2; fail "$kind: wanted $want_passed passed, 0, 0"; }
}

for kind in $kinds; do
	one_run "$kind"
done
if grep -q 'not-to-be-logged' "$work/log"; then
	fail "a secret is in cleatd's log"
fi
kill "$daemon"
wait "$daemon" || fail "cleatd ended with $?"
daemon=
if awk -v top="$work/" 'index($5, top) == 1 && $5 != top "base"' /proc/self/mountinfo | grep -q .; then
	grep -F "$work/" /proc/self/mountinfo >&2
	fail "mounts are left behind"
fi
