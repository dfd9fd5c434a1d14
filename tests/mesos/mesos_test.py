#!/usr/bin/env python3
"""The isolator module in the hands of an agent: what a container sees, what the host does not see, and what is left after every kind of end.

    mesos_test.py BUILD TESTS CASE...     BUILD: cleatd and its programs; TESTS: what CMakeLists.txt here makes; CASE: "MODULE AGENT WHAT"

WHAT is "life" for a container's life and the agent's restart, "all" for the other ends too, or "grpc".

Runs in a mount namespace of its own whose `/` is shared, as on a host under systemd: what is mounted without care in a container shows here.
Prints a verdict for each test as cmocka does, and exits with 1 when any failed.
"""
import os
import re
import subprocess
import sys
import time
import traceback

from lab import Agent, Container, Lab, become_subreaper, mounts, wait_for

USER = "nobody"


def env(family, **words):
    return [f"env={family}_VOLUME_{word}={value}" for word, value in words.items()]


def dvdi(**words):
    return env("DVDI", **words)


def ours(**words):
    return env("CLEAT", **({"SIZE": "16MiB"} | words))


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def fresh(lab):
    """An agent after its start: nothing was running."""
    agent = Agent(lab)
    agent.ask("recover")
    return agent


# ---- a container's life ----

def test_dvdi(lab):
    """A Marathon application of mesos-module-dvdi: an absolute path, seen in the container and not on the host; data stays."""
    agent, target = fresh(lab), f"{lab.dir}/data"
    os.mkdir(target, 0o750)
    os.chown(target, 65534, 65534)
    for turn in ("first", "second"):
        agent.ask("prepare", turn, f"sandbox={lab.sandbox()}", *dvdi(NAME="db", DRIVER="rexray", OPTS="size=16", CONTAINERPATH=target))
        held = Container(agent, turn, f"cat {target}/first; stat -c %u:%g:%a {target}; echo here > {target}/{turn} && echo written; GATE")
        held.says("written")
        check(os.listdir(target) == [], f"the host sees {os.listdir(target)}")
        check(target not in mounts(), "the mount leaked to the host")
        check("65534:65534:750" in held.text(), f"the volume does not have the owner of the container path: {held.text()}")
        check(turn == "first" or "here" in held.text(), f"the data is gone: {held.text()}")
        agent.ask("rest", turn)
        held.release()
        check(held.end() == 0, held.text())
        agent.ask("cleanup", turn)
        lab.holds_nothing()
    agent.stop()


def test_relative(lab):
    """CLEAT_VOLUME_*: a path in the sandbox, which need not exist; a new volume is its user's; read-only is read-only."""
    agent, sandbox = fresh(lab), lab.sandbox()
    agent.ask("prepare", "c1", f"sandbox={sandbox}", f"user={USER}", *ours(NAME="w", CONTAINERPATH="a/b"),
              *ours(NAME1="w2", SIZE1="16MiB", CONTAINERPATH1="a/c"))
    held = Container(agent, "c1", "echo data > a/b/file && touch a/c/x && echo written; GATE")
    held.says("written")
    check(os.listdir(f"{sandbox}/a/b") == [], "the host sees the data in the sandbox")
    held.release()
    check(held.end() == 0, held.text())
    agent.ask("cleanup", "c1")
    agent.ask("prepare", "c2", f"sandbox={lab.sandbox()}", *ours(NAME="w", CONTAINERPATH="d", MODE="ro"))
    reader = Container(agent, "c2", "cat d/file; echo more > d/file || echo refused")
    check(reader.end() == 0 and reader.text().startswith("data\n") and "refused" in reader.text(), reader.text())
    agent.ask("cleanup", "c2")
    lab.holds_nothing()
    agent.stop()


def test_host_path(lab):
    """Without a container path the volume is at a path of the host, for every container; it goes with the last."""
    agent = fresh(lab)
    for name in ("c1", "c2"):
        said = agent.ask("prepare", name, f"sandbox={lab.sandbox()}", *dvdi(NAME="shared"))
        check(said == "ok none", said)
    held = Container(agent, "c1", f"echo seen > {lab.dir}/host/shared/file && echo written; GATE")
    held.says("written")
    with open(f"{lab.dir}/host/shared/file", encoding="ascii") as f:
        check(f.read() == "seen\n", "the host does not see the volume")
    agent.ask("cleanup", "c2")
    check(f"{lab.dir}/host/shared" in mounts(), "it went with the first of two")
    held.release()
    check(held.end() == 0, held.text())
    agent.ask("cleanup", "c1")
    check(f"{lab.dir}/host/shared" not in mounts(), "it stays after the last")
    lab.holds_nothing()
    agent.stop()


def test_refusals(lab):
    """What cannot be done is said by prepare, and leaves nothing."""
    agent = fresh(lab)
    cases = [
        (dvdi(NAME="a;b", CONTAINERPATH="/tmp"), "a;b"),
        (dvdi(NAME="a", CONTAINERPATH="relative"), "begin with '/'"),
        (dvdi(NAME="a", CONTAINERPATH="/no/such/place"), "/no/such/place"),
        (dvdi(NAMES="a"), "DVDI_VOLUME_NAMES"),
        (ours(NAME="a", CONTAINERPATH="../../etc"), "not allowed"),
        (ours(NAME="a", CONTAINERPATH="d", DRIVER="x"), "CLEAT_VOLUME_DRIVER"),
        (ours(NAME="a", CONTAINERPATH="d", SIZE="lots"), "a"),
        (ours(NAME="a", CONTAINERPATH="d", EXPLICITCREATE="true"), "a"),
        (ours(NAME="good", CONTAINERPATH="d", NAME1="bad", CONTAINERPATH1="e", EXPLICITCREATE1="true"), "bad"),
    ]
    for i, (variables, part) in enumerate(cases):
        text = agent.refused("prepare", f"r{i}", f"sandbox={lab.sandbox()}", *variables)
        check(part in text and "\n" not in text, f"{variables}: {text}")
        agent.ask("cleanup", f"r{i}")
        lab.holds_nothing()
    agent.ask("prepare", "once", f"sandbox={lab.sandbox()}", *ours(NAME="one", CONTAINERPATH="d"))
    agent.refused("prepare", "once", f"sandbox={lab.sandbox()}", *ours(NAME="one", CONTAINERPATH="d"))
    agent.ask("cleanup", "once")
    agent.ask("cleanup", "never-heard-of")
    check(agent.ask("prepare", "without", f"sandbox={lab.sandbox()}", "env=PATH=/bin") == "ok none", "a container without volumes")
    agent.ask("cleanup", "without")
    # A container path in the system is refused where it is mounted: the container does not start.
    agent.ask("prepare", "system", f"sandbox={lab.sandbox()}", *dvdi(NAME="one", CONTAINERPATH="/usr/share"))
    check(Container(agent, "system", "true").end() == 125, "a volume over /usr/share")
    agent.ask("cleanup", "system")
    lab.holds_nothing()
    agent.stop()


def test_image(lab):
    """With an image: an absolute path is the image's, a relative one the sandbox's; before 0.27 it is refused."""
    agent, image, sandbox = fresh(lab), lab.image(), lab.sandbox()
    variables = ours(NAME="i1", CONTAINERPATH="/srv/data", NAME1="i2", SIZE1="16MiB", CONTAINERPATH1="rel")
    if lab.number < (0, 27):
        if lab.number > (0, 23):
            text = agent.refused("prepare", "c", f"sandbox={sandbox}", "image=any", *variables)
            check("image" in text, text)
            agent.ask("cleanup", "c")
        agent.stop()
        return
    agent.refused("prepare", "h", f"sandbox={sandbox}", f"rootfs={image}", *ours(NAME="i1"))
    agent.ask("cleanup", "h")
    os.symlink("/etc", f"{image}/mnt/link")
    agent.ask("prepare", "c", f"sandbox={sandbox}", f"rootfs={image}", *variables)
    held = Container(agent, "c", "echo abs > /srv/data/f && echo rel > rel/f && cat /mnt/mesos/sandbox/rel/f /srv/data/f; echo done")
    check(held.end() == 0 and held.text().endswith("rel\nabs\ndone\n"), held.text())
    check(os.listdir(f"{image}/srv/data") == [] and os.listdir(f"{sandbox}/rel") == [], "the host sees the data")
    agent.ask("cleanup", "c")
    # A link in the image leads within the image, never to the host's directory of that name.
    agent.ask("prepare", "l", f"sandbox={lab.sandbox()}", f"rootfs={image}", *ours(NAME="i1", CONTAINERPATH="/mnt/link/x"))
    held = Container(agent, "l", "cat /etc/x/f")
    check(held.end() == 0 and held.text().endswith("abs\n") and not os.path.exists("/etc/x"), held.text())
    agent.ask("cleanup", "l")
    lab.holds_nothing()
    agent.stop()


def test_links(lab):
    """A task cannot lead a mount out of its sandbox by a link, neither by its path nor by its outer container's."""
    agent, sandbox = fresh(lab), lab.sandbox()
    os.symlink("/etc", f"{sandbox}/out")
    agent.ask("prepare", "c", f"sandbox={sandbox}", *ours(NAME="l", CONTAINERPATH="out/x"))
    check(Container(agent, "c", "true").end() == 125, "a mount through a link")
    agent.ask("cleanup", "c")
    if lab.number >= (1, 1):
        inner = lab.sandbox(outer=sandbox, name="inner")
        agent.ask("prepare", "c2/inner", f"sandbox={inner}", *ours(NAME="l", CONTAINERPATH="d"))
        os.rename(f"{sandbox}/containers", f"{sandbox}/moved")
        os.makedirs(f"{lab.dir}/elsewhere/inner")
        os.symlink(f"{lab.dir}/elsewhere", f"{sandbox}/containers")
        check(Container(agent, "c2/inner", "true").end() == 125, "a mount through the outer container's link")
        check(os.listdir(f"{lab.dir}/elsewhere/inner") == [], "something was made there")
        agent.ask("cleanup", "c2/inner")
    lab.holds_nothing()
    agent.stop()


def test_container_info(lab):
    """From 1.0 on: volumes of ContainerInfo with the driver `cleat`; those of other drivers are somebody else's."""
    if lab.number < (1, 0):
        return
    agent = fresh(lab)
    agent.ask("prepare", "c", f"sandbox={lab.sandbox()}", "volume=cleat:info:vol:rw", "opt=size=16MiB", "volume=rexray:other:o:rw")
    first = Container(agent, "c", "echo kept > vol/f; ls -d o")
    check(first.end() != 0 and "kept" not in first.text(), first.text())
    agent.ask("cleanup", "c")
    agent.ask("prepare", "c2", f"sandbox={lab.sandbox()}", "volume=cleat:info:vol:ro")
    second = Container(agent, "c2", "cat vol/f; touch vol/g || echo refused")
    check(second.end() == 0 and "kept" in second.text() and "refused" in second.text(), second.text())
    agent.ask("cleanup", "c2")
    check(lab.volume_names() == ["info"], lab.volume_names())
    lab.holds_nothing()
    agent.stop()


def test_nested(lab):
    """From 1.1 on: nested containers have volumes of their own; those for debugging have none; a standalone one is like any other."""
    if lab.number < (1, 1):
        return
    agent, outer = fresh(lab), lab.sandbox()
    inner = lab.sandbox(outer=outer, name="in")
    agent.ask("prepare", "out", f"sandbox={outer}", *ours(NAME="n1", CONTAINERPATH="d"))
    agent.ask("prepare", "out/in", f"sandbox={inner}", *ours(NAME="n2", CONTAINERPATH="d"))
    both = [Container(agent, "out", "echo outer > d/f && echo up; GATE"), Container(agent, "out/in", "echo inner > d/f && echo up; GATE")]
    for held in both:
        held.says("up")
    if lab.number >= (1, 2):
        said = agent.ask("prepare", "out/dbg", f"sandbox={outer}", "debug=1", *ours(NAME="n1", CONTAINERPATH="d"))
        check(said == "ok none", said)
        agent.ask("cleanup", "out/dbg")
    both[1].release()
    check(both[1].end() == 0, both[1].text())
    agent.ask("cleanup", "out/in")
    check(len(lab.claims()) == 1 and "/out/" in lab.claims()[0], f"{lab.claims()}")
    both[0].release()
    check(both[0].end() == 0, both[0].text())
    agent.ask("cleanup", "out")
    lab.holds_nothing()
    agent.stop()


# ---- what goes wrong ----

def test_daemon_down(lab):
    """Without a daemon containers with volumes fail and say so, others start; a cleanup succeeds and is made good later."""
    agent = fresh(lab)
    agent.ask("prepare", "c", f"sandbox={lab.sandbox()}", *ours(NAME="d", CONTAINERPATH="d"))
    lab.kill_daemon()
    text = agent.refused("prepare", "c2", f"sandbox={lab.sandbox()}", *ours(NAME="d2", CONTAINERPATH="d"))
    check(lab.socket in text, f"it does not say which daemon: {text}")
    agent.ask("cleanup", "c2")
    check(agent.ask("prepare", "c3", f"sandbox={lab.sandbox()}") == "ok none", "a container without volumes")
    agent.ask("cleanup", "c3")
    agent.ask("cleanup", "c")
    lab.start_daemon()
    lab.holds_nothing()
    agent.stop()


def test_daemon_killed(lab):
    """The daemon dies in the middle of a call: the container fails or starts, and nothing is left when it is gone."""
    agent = fresh(lab)
    lab.kill_daemon()
    lab.start_daemon(fault="create=crash:1")
    tag = agent.send("prepare", "c", f"sandbox={lab.sandbox()}", *ours(NAME="k", CONTAINERPATH="d"))
    lab.daemon.wait(60)
    lab.start_daemon()
    agent.answer(tag)
    agent.ask("cleanup", "c")
    lab.holds_nothing()
    agent.ask("prepare", "c2", f"sandbox={lab.sandbox()}", *ours(NAME="k", CONTAINERPATH="d"))
    held = Container(agent, "c2", "echo fine > d/f; cat d/f; echo up; GATE")
    held.says("up")
    lab.kill_daemon()
    lab.start_daemon()
    held.release()
    check(held.end() == 0 and "fine" in held.text(), held.text())
    agent.ask("cleanup", "c2")
    lab.holds_nothing()
    agent.stop()


def test_agent_restart(lab):
    """The agent is killed: containers that it recovers keep their volumes, the others' are released, orphans wait for their cleanup."""
    agent = fresh(lab)
    for name in ("lives", "gone", "orphan"):
        agent.ask("prepare", name, f"sandbox={lab.sandbox()}", *ours(NAME=f"r-{name}", CONTAINERPATH="d"))
    held = Container(agent, "lives", "echo before > d/f && echo up; GATE; cat d/f && echo after >> d/f && echo through")
    held.says("up")
    agent.kill()
    again = Agent(lab)
    again.ask("recover", "+lives", "-orphan")
    left = sorted(target.split("/")[-2] for target in lab.claims())
    check(left == ["lives", "orphan"], f"claims of {left}")
    held.release()
    check(held.end_orphaned() == 0 and held.text().endswith("before\nthrough\n"), held.text())
    again.ask("cleanup", "orphan")
    again.ask("prepare", "new", f"sandbox={lab.sandbox()}", *ours(NAME="r-gone", CONTAINERPATH="d"))
    again.ask("cleanup", "new")
    again.ask("cleanup", "lives")
    lab.holds_nothing()
    again.stop()


def test_agent_killed(lab):
    """The agent dies while volumes are being made for a container: after its restart nothing is left of that."""
    lab.kill_daemon()
    lab.start_daemon(fault="create=delay:1500:1")
    agent = fresh(lab)
    agent.send("prepare", "c", f"sandbox={lab.sandbox()}", *ours(NAME="ak", CONTAINERPATH="d"))
    wait_for("the volume is being made", lambda: lab.running())
    agent.kill()
    again = Agent(lab)
    again.ask("recover")
    lab.holds_nothing()
    again.stop()


def test_agent_gone(lab):
    """The agent never comes back: its containers' claims are known to be stale when their processes are gone."""
    agent = fresh(lab)
    agent.ask("prepare", "c", f"sandbox={lab.sandbox()}", *ours(NAME="ag", CONTAINERPATH="d", MODE="single-node-single-writer"))
    held = Container(agent, "c", "echo up; GATE")
    held.says("up")
    wait_for(lambda: f"a witness: {lab.claim_list()}", lambda: [c.get("witness") for c in lab.claim_list()] == [f"pid {held.pid}"])
    agent.kill()
    check(not any(claim.get("stale") for claim in lab.claim_list()), f"stale while it runs: {lab.claim_list()}")
    held.release()
    check(held.end_orphaned() == 0, held.text())
    wait_for(lambda: f"stale: {lab.claim_list()}", lambda: all(claim.get("stale") for claim in lab.claim_list()))
    again = Agent(lab, [f"root={lab.root}2"]) # another agent, which knows nothing of the first
    again.ask("recover")
    again.ask("prepare", "next", f"sandbox={lab.sandbox()}", *ours(NAME="ag", CONTAINERPATH="d", MODE="single-node-single-writer"))
    check(len(lab.claims()) == 1 and lab.claims()[0].startswith(f"{lab.root}2/"), f"{lab.claims()}")
    again.ask("cleanup", "next")
    again.stop()
    last = fresh(lab)
    lab.holds_nothing()
    last.stop()


def test_busy(lab):
    """Somebody on the host still uses the volume when its container goes: it is not pulled away, and released when he is done."""
    agent = fresh(lab)
    agent.ask("prepare", "c", f"sandbox={lab.sandbox()}", *dvdi(NAME="busy"))
    with open(f"{lab.dir}/host/busy/file", "w", encoding="ascii") as f:
        agent.ask("cleanup", "c")
        f.write("still here\n")
        f.flush()
        check(f"{lab.dir}/host/busy" in mounts(), "it was taken away from under a process")
    lab.holds_nothing()
    agent.stop()


def test_recover_without_daemon(lab):
    """A daemon that is not there does not keep the agent from starting; what is left is released when it comes."""
    agent = fresh(lab)
    agent.ask("prepare", "c", f"sandbox={lab.sandbox()}", *ours(NAME="rw", CONTAINERPATH="d"))
    agent.kill()
    lab.kill_daemon()
    again = Agent(lab)
    again.ask("recover")
    lab.start_daemon()
    lab.holds_nothing()
    again.stop()


def test_many(lab):
    """50 containers at once on 20 volumes."""
    agent, names = fresh(lab), [f"m{i}" for i in range(50)]
    tags = [agent.send("prepare", name, f"sandbox={lab.sandbox()}", *ours(NAME=f"v{i % 20}", CONTAINERPATH="d"))
            for i, name in enumerate(names)]
    for tag in tags:
        said = agent.answer(tag, 120)
        check(said == "ok", said)
    check(len(lab.claims()) == 50, f"{len(lab.claims())} claims")
    all_held = [Container(agent, name, f"echo {name} > d/{name} && echo up; GATE") for name in names]
    for held in all_held:
        held.says("up")
        held.release()
    for held in all_held:
        check(held.end() == 0, held.text())
    for tag in [agent.send("cleanup", name) for name in names]:
        said = agent.answer(tag, 120)
        check(said == "ok", said)
    lab.holds_nothing()
    agent.ask("prepare", "last", f"sandbox={lab.sandbox()}", *ours(NAME="v3", CONTAINERPATH="d"))
    reader = Container(agent, "last", "ls d")
    check(reader.end() == 0 and {"m3", "m23", "m43"} <= set(reader.text().split()), reader.text())
    agent.ask("cleanup", "last")
    agent.stop()


# ---- the library itself ----

def test_symbols(lab):
    """It exports the module and nothing else, and refers to nothing but the agent's messages and the C and C++ libraries."""
    def nm(*options):
        return subprocess.run(["nm", "-D", *options, lab.module], check=True, capture_output=True, text=True).stdout.splitlines()

    exported = [line.split()[-1] for line in nm("--defined-only")]
    check(exported == ["org_cleat_VolumeIsolator"], f"exported: {exported}")
    for line in nm("--undefined-only", "--demangle"):
        name = line.split(maxsplit=1)[1]
        check(not name.startswith(("grpc_", "gpr_", "protobuf_c_", "json_", "cleat_", "mesos_")), f"refers to {name}")
        if lab.number >= (0, 24):
            check("process::" not in name, f"refers to libprocess: {name}")
    needed = subprocess.run(["readelf", "-d", lab.module], check=True, capture_output=True, text=True).stdout
    for line in needed.splitlines():
        if "(NEEDED)" in line:
            check(any(lib in line for lib in ("libc.so", "libstdc++.so", "libgcc_s.so", "libm.so", "libpthread", "ld-linux")), line)


def test_admission(lab):
    """An agent of another patch release does not take the module; wrong parameters are refused, and said."""
    version, lab.version = lab.version, "9.9.9"
    try:
        Agent(lab)
        raise RuntimeError("it was taken")
    except AssertionError as e:
        check(version in str(e), str(e))
    finally:
        lab.version = version
    for parameter, part in (("timeout=soon", "timeout"), ("root=relative", "root"), ("colour=red", "colour"),
                            ("helper=/no/such/program", "/no/such/program")):
        try:
            Agent(lab, [parameter])
            raise RuntimeError(f"{parameter} was taken")
        except AssertionError as e:
            check(part in str(e), str(e))


LIFE = [test_symbols, test_admission, test_dvdi, test_relative, test_host_path, test_refusals, test_image, test_links, test_container_info,
        test_nested, test_agent_restart]
ENDS = [test_daemon_down, test_daemon_killed, test_agent_killed, test_agent_gone, test_busy, test_recover_without_daemon, test_many]


def test_grpc(lab):
    """An agent that has a gRPC of its own, whose names all end the process: none is called."""
    exported = subprocess.run(["nm", "-D", "--defined-only", lab.agent_program], check=True, capture_output=True, text=True).stdout
    check(exported.count(" T grpc_") > 100, "the agent does not export gRPC's names")
    test_dvdi(lab)
    test_host_path(lab)


def run_one(build, tests, case, test):
    """Whether it went well; what did not is printed."""
    lab = Lab(build, tests, case)
    try:
        lab.start_daemon()
        test(lab)
        lab.close()
        return True
    except (AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
        print(traceback.format_exc() + lab.tail())
        lab.abandon()
        return False


def run(build, tests, case, wanted):
    failed = 0
    for test in wanted:
        name = re.sub(r"\W", "_", f"{test.__name__}__{case.split()[0]}")
        print(f"[ RUN      ] {name}", flush=True)
        begun = time.monotonic()
        good = run_one(build, tests, case, test)
        failed += not good
        print(f"{time.monotonic() - begun:.1f} s\n[{'       OK' if good else '   FAILED'} ] {name}", flush=True)
    return failed


def main():
    build, tests, cases = sys.argv[1], sys.argv[2], sys.argv[3:]
    if os.environ.get("CLEAT_MESOS_INSIDE") != "yes":
        os.environ["CLEAT_MESOS_INSIDE"] = "yes"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "shared", sys.executable, *sys.argv])
    become_subreaper()
    only = os.environ.get("CLEAT_MESOS_TEST", "")
    tests_of = {"life": LIFE, "all": LIFE + ENDS, "grpc": [test_grpc]}
    failed = sum(run(build, tests, case, [t for t in tests_of[case.split()[2]] if only in t.__name__]) for case in cases)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
