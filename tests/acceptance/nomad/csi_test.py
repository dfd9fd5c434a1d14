#!/usr/bin/env python3
"""The daemon as a CSI plugin of a real Nomad agent, by the plugin job and the shim of examples/nomad/csi, with the real command line.

    csi_test.py BUILD_DIR NOMAD_PROGRAM [unittest options]

Tasks that use volumes run in the driver cleat, which is one of those that can mount what Nomad gives them; nothing here uses its own volumes.
"""
import os
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))
sys.dont_write_bytecode = True
import cases  # noqa: E402  (the path is ours)
import nomad_test  # noqa: E402
from lab import Lab, alive, read, wait_for  # noqa: E402

BUILD = NOMAD = None
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../examples/nomad/csi")
NODE = socket.gethostname()  # an agent's name, unless it is given one
PLUGIN = "cleat-" + NODE

VOLUME = """
id           = "{id}"
name         = "{id}"
type         = "csi"
plugin_id    = "{plugin}"
capacity_min = "{size}"
{more}
{capabilities}
mount_options {{
  fs_type     = "xfs"
  mount_flags = ["noatime"]
}}
"""

CAPABILITY = """
capability {{
  access_mode     = "{mode}"
  attachment_mode = "{attachment}"
}}
"""

USE = """
    volume "data" {{
      type            = "csi"
      source          = "{id}"
      access_mode     = "{mode}"
      attachment_mode = "file-system"
      read_only       = {read_only}
      {more}
    }}
"""

MOUNT = """
      volume_mount {
        volume      = "data"
        destination = "/data"
      }
"""

# Says what it finds, and writes for as long as it lives; a write that fails is a failure that is seen.
WRITER = r"""i=0; while :; do echo tick $i > /data/ticks.new && mv /data/ticks.new /data/ticks || echo broken >&2; i=$((i+1)); sleep 0.1; done"""


class CsiLab(Lab):
    """A lab whose daemon serves CSI, and lets the tasks of one node share what lies on it."""

    def __init__(self, build, nomad):
        super().__init__(build, nomad)
        with open(f"{self.dir}/cleatd.conf", "w", encoding="utf-8") as f:
            f.write(f"csi:\n  socket: {self.dir}/run/csi.sock\n  local_multi_node: true\n")

    def start_daemon(self):
        self.daemon = self._spawn("cleatd", [f"{self.build}/bin/cleatd", "--config", f"{self.dir}/cleatd.conf", "--state-dir",
                                             f"{self.dir}/state", "--runtime-dir", f"{self.dir}/run"])
        wait_for("cleatd answers", lambda: self.cleat("version", check=False).returncode == 0)

    # ---- the plugin ----

    def start_plugin(self):
        self.nomad("job", "run", "-detach", f"-var=node={NODE}", f"-var=socket={self.dir}/run/csi.sock",
                   f"-var=data_dir={self.dir}/nomad", f"-var=shim={EXAMPLES}/cleat-csi-shim", f"{EXAMPLES}/plugin.nomad.hcl")
        self.wait_plugin()

    def plugin(self):
        try:
            return self.api(f"plugin/csi/{PLUGIN}")
        except OSError:
            return {}

    def wait_plugin(self):
        wait_for(lambda: f"the plugin is healthy: {self.plugin()} {self.describe('plugin-' + PLUGIN)}",
                 lambda: self.plugin().get("ControllersHealthy") == 1 and self.plugin().get("NodesHealthy") == 1)

    def shim(self):
        """The plugin's allocation and its process."""
        alloc = self.wait_alloc("plugin-" + PLUGIN, "running")["ID"]
        pids = [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if self._is_shim(pid, alloc)]
        return alloc, pids

    @staticmethod
    def _is_shim(pid, alloc):
        try:
            return f"NOMAD_ALLOC_ID={alloc}" in read(f"/proc/{pid}/environ").split("\0") and read(f"/proc/{pid}/comm") == "sleep\n" \
                and alive(pid)
        except OSError:
            return False

    # ---- volumes ----

    def spec(self, name, size="512MiB", modes=("single-node-writer",), attachment="file-system", more=""):
        path = f"{self.dir}/jobs/{name}.volume.hcl"
        text = VOLUME.format(id=name, plugin=PLUGIN, size=size, more=more, capabilities="".join(
            CAPABILITY.format(mode=m, attachment=attachment) for m in modes))
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def create(self, name, **how):
        return self.nomad("volume", "create", self.spec(name, **how)).stdout

    def volume(self, name):
        return self.api(f"volume/csi/{name}")

    def known(self):
        """External ids of what the daemon has, by name."""
        return {v["name"]: v["id"] for v in self.cleat_json("volume", "list", "--all-scopes").get("volumes", [])}

    def wait_free(self, name):
        """Nomad releases a claim some moments after the last task has ended."""
        wait_for(lambda: f"nobody claims {name}: {self.volume(name)}",
                 lambda: not self.volume(name).get("ReadAllocs") and not self.volume(name).get("WriteAllocs")
                 and self.nomad("volume", "status", name).stdout.find("No allocations placed") >= 0)

    def delete(self, name):
        done = []

        def look():
            done[:] = [self.nomad("volume", "delete", name, check=False)]
            return done[0].returncode == 0
        wait_for(lambda: f"{name} is deleted: {done[0].stdout}{done[0].stderr}", look)

    def claims(self):
        return [c for c in self.cleat_json("claim", "list").get("claims", []) if not c.get("staging")]

    def mounts(self):
        """Whatever is mounted for volumes: by the daemon, and where Nomad wants it."""
        points = [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()]
        return [p for p in points if p.startswith((f"{self.dir}/run/mnt/stage/", f"{self.dir}/nomad/client/csi/"))]


def use(volume, mode="single-node-writer", read_only=False, more=""):
    return USE.format(id=volume, mode=mode, read_only=str(read_only).lower(), more=more)


def job(name, volume, script, **more):
    how = {k: more.pop(k) for k in ("mode", "read_only") if k in more}
    return nomad_test.job(name, script, group=use(volume, more=more.pop("use", ""), **how), task=MOUNT, kill_timeout="1s", **more)


def setUpModule():
    """One agent for all cases: what one leaves is a failure of that one."""
    CsiCase.lab = CsiLab(BUILD, NOMAD)
    unittest.addModuleCleanup(CsiCase.lab.close)
    CsiCase.lab.start_daemon()
    CsiCase.lab.start_agent()
    CsiCase.lab.wait_healthy()
    CsiCase.lab.start_plugin()


class CsiCase(unittest.TestCase):
    lab = None

    def tearDown(self):
        """What every test leaves must be nothing but the plugin."""
        lab = self.lab
        for j in lab.api("jobs"):
            if j["ID"] != "plugin-" + PLUGIN:
                lab.nomad("job", "stop", "-detach", "-purge", j["ID"], check=False)
        lab.wait_no_tasks()
        for v in lab.api("volumes?type=csi"):
            lab.delete(v["ID"])
        wait_for(lambda: f"nothing is left over: {lab.claims()} {lab.mounts()} {lab.known()}",
                 lambda: not lab.claims() and not lab.mounts() and not lab.known())

    def start(self, name, *args, **more):
        self.lab.submit(name, job(name, *args, **more))
        return self.lab.wait_alloc(name, "running")["ID"]

    def stop(self, name):
        """Stops a job and waits until its allocation has ended."""
        alloc = self.lab.allocs(name)[-1]["ID"]
        self.lab.nomad("job", "stop", "-detach", name)
        self.lab.wait_gone(alloc)

    def cat(self, alloc, path):
        return self.lab.exec(alloc, "cat", path).stdout

    def tick(self, alloc):
        """The last number that the task has written; it may be about to write the first one, or the next."""
        def words():
            found = self.lab.exec(alloc, "cat", "/data/ticks", check=False).stdout.split()
            return found if len(found) > 1 else None
        return int(wait_for("the task writes", words)[1])

    def wait_file(self, alloc, path, text=""):
        wait_for(f"'{path}' is there", lambda: self.lab.exec(alloc, "cat", path, check=False).stdout.startswith(text or "tick "))

    def check_writes_on(self, alloc):
        self.wait_file(alloc, "/data/ticks")
        since = self.tick(alloc)
        wait_for(f"the task writes on from tick {since}", lambda: self.tick(alloc) > since)
        self.assertNotIn("broken", self.lab.nomad("alloc", "logs", "-stderr", alloc).stdout)

    def df_mib(self, alloc):
        return int(self.lab.exec(alloc, "df", "--output=size", "-m", "/data").stdout.split()[1])


class Csi1Volumes(CsiCase):
    """What the command line can do with volumes, and what jobs then have."""

    def test_a_volume_from_creation_to_deletion(self):
        lab = self.lab
        self.assertRegex(lab.create("life", more='parameters {\n uid = "999"\n mode = "0750"\n}'), r"Created external volume \S+ with ID life")
        external = lab.volume("life")["ExternalID"]
        self.assertEqual(lab.known(), {"life": external})
        # Again is the same.
        lab.create("life", more='parameters {\n uid = "999"\n mode = "0750"\n}')
        self.assertEqual(lab.known(), {"life": external})
        text = lab.nomad("volume", "status", "life").stdout
        self.assertIn(external, text)
        self.assertRegex(text, r"Schedulable += true")
        self.assertRegex(text, r"Capacity += 512 MiB")
        self.assertIn(external, lab.nomad("volume", "status", "-type", "csi", "-plugin", PLUGIN, "-verbose", check=False).stdout
                      + lab.nomad("volume", "status", "-verbose").stdout)

        first = self.start("write", "life", "echo precious > /data/file; sync; sleep 1000")
        self.wait_file(first, "/data/file", "precious\n")
        self.assertEqual(lab.exec(first, "stat", "-c", "%u %a %m", "/data").stdout.split(), ["999", "750", "/data"])
        self.assertEqual(lab.exec(first, "stat", "-f", "-c", "%T", "/data").stdout.strip(), "xfs")
        self.assertIn("noatime", lab.exec(first, "grep", " /data ", "/proc/mounts").stdout)
        self.assertTrue(400 < self.df_mib(first) <= 512, self.df_mib(first))
        self.assertEqual([c["owner"] for c in lab.claims()], [f"alloc {first}"])
        # In use, so not to be deleted; also not by somebody who asks the daemon.
        refused = lab.nomad("volume", "delete", "life", check=False)
        self.assertNotEqual(refused.returncode, 0)
        refused = lab.cleat("volume", "delete", external, check=False)
        self.assertIn(f"alloc {first}", refused.stderr)
        self.stop("write")
        lab.wait_free("life")
        second = self.start("read", "life", "sleep 1000")
        self.assertEqual(self.cat(second, "/data/file"), "precious\n")
        self.stop("read")
        lab.delete("life")
        self.assertEqual(lab.known(), {})

    def test_snapshots_and_copies(self):
        lab = self.lab
        lab.create("source")
        alloc = self.start("writer", "source", "sleep 1000")
        lab.exec(alloc, "sh", "-c", "echo before > /data/file && sync")
        done = lab.nomad("volume", "snapshot", "create", "source", "monday").stdout
        listed = lab.nomad("volume", "snapshot", "list", "-plugin", PLUGIN, "-verbose").stdout
        snapshots = [s for s in lab.cleat_json("snapshot", "list").get("snapshots", []) if s["name"] == "monday"]
        self.assertEqual(len(snapshots), 1, listed)
        snapshot = snapshots[0]["id"]
        self.assertIn(snapshot, done)
        self.assertIn(snapshot, listed)
        self.assertIn(lab.volume("source")["ExternalID"][:30], listed)  # Nomad cuts it
        self.assertRegex(listed, r"true|IsReady")
        lab.exec(alloc, "sh", "-c", "echo after > /data/file && sync")
        lab.create("restored", more=f'snapshot_id = "{snapshot}"')
        lab.create("copy", more=f'clone_id = "{lab.volume("source")["ExternalID"]}"')
        for name, text in (("restored", "before\n"), ("copy", "after\n")):
            other = self.start("look-" + name, name, "sleep 1000")
            self.assertEqual(self.cat(other, "/data/file"), text)
            self.stop("look-" + name)
        self.assertEqual(self.cat(alloc, "/data/file"), "after\n")
        lab.nomad("volume", "snapshot", "delete", PLUGIN, snapshot)
        self.assertNotIn(snapshot, lab.nomad("volume", "snapshot", "list", "-plugin", PLUGIN, "-verbose").stdout)
        self.assertEqual(lab.cleat_json("snapshot", "list").get("snapshots", []), [])

    def test_register_takes_what_exists_and_deregister_leaves_it(self):
        lab = self.lab
        lab.cleat("volume", "create", "old", "--size", "512MiB", "--param", "fs=xfs")
        external = lab.known()["old"]
        target = lab.cleat_json("volume", "publish", external)["target"]
        with open(f"{target}/file", "w", encoding="utf-8") as f:
            f.write("from before Nomad\n")
        lab.cleat("volume", "unpublish", external)
        refused = lab.nomad("volume", "register", lab.spec("none", more=f'external_id = "{external}x"'), check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("does not exist", refused.stderr)
        lab.nomad("volume", "register", lab.spec("taken", more=f'external_id = "{external}"'))
        alloc = self.start("reads", "taken", "sleep 1000")
        self.assertEqual(self.cat(alloc, "/data/file"), "from before Nomad\n")
        self.stop("reads")
        lab.wait_free("taken")
        lab.nomad("volume", "deregister", "taken")
        self.assertEqual(lab.known(), {"old": external})
        self.assertEqual(lab.api("volumes?type=csi"), [])
        lab.cleat("volume", "delete", external)

    def test_what_is_wrong_is_said(self):
        lab = self.lab
        for more, size, words in (('parameters {\n colour = "red"\n}', "512MiB", "colour"),
                                  ('snapshot_id = "default-00000000.nothing"', "512MiB", "default-00000000"),
                                  ('parameters {\n pool = "nowhere"\n}', "512MiB", "nowhere"),
                                  ("", "100TiB", "left to promise")):
            done = lab.nomad("volume", "create", lab.spec("wrong", size=size, more=more), check=False)
            self.assertNotEqual(done.returncode, 0, more)
            self.assertRegex(done.stderr, words)
        self.assertEqual(lab.known(), {})

    def test_a_wrong_base_directory_is_noticed(self):
        lab = self.lab
        lab.nomad("job", "run", "-detach", "-var=plugin_id=astray", f"-var=socket={lab.dir}/run/csi.sock", f"-var=data_dir={lab.dir}/other",
                  f"-var=shim={EXAMPLES}/cleat-csi-shim", f"{EXAMPLES}/plugin.nomad.hcl")
        alloc = wait_for("an allocation", lambda: lab.allocs("plugin-astray"))[0]["ID"]
        wait_for("the shim says what is wrong",
                 lambda: f"must be '{lab.dir}/nomad/client/csi/" in lab.nomad("alloc", "logs", "-stderr", alloc, check=False).stdout)
        lab.nomad("job", "stop", "-detach", "plugin-astray")
        lab.wait_gone(alloc)


class Csi2Sharing(CsiCase):
    """Who may have a volume at the same time, and who waits."""

    def test_two_allocations_read_one_volume(self):
        lab = self.lab
        lab.create("shared", modes=("single-node-writer", "multi-node-reader-only"))
        first = self.start("fills", "shared", "echo for all > /data/file; sync; sleep 1000")
        self.wait_file(first, "/data/file", "for all\n")
        self.stop("fills")
        lab.wait_free("shared")
        lab.submit("readers", job("readers", "shared", "sleep 1000", mode="multi-node-reader-only", read_only=True, count=2))
        allocs = wait_for(lambda: f"two readers run: {lab.describe('readers')}", lambda: (
            lambda running: running if len(running) == 2 else None)([a["ID"] for a in lab.allocs("readers") if a["ClientStatus"] == "running"]))
        for alloc in allocs:
            self.assertEqual(self.cat(alloc, "/data/file"), "for all\n")
            self.assertNotEqual(lab.exec(alloc, "touch", "/data/new", check=False).returncode, 0)
        self.assertEqual(sorted(c["owner"] for c in lab.claims()), sorted(f"alloc {a}" for a in allocs))
        # One of them goes: the other keeps what it has, whatever Nomad does about the staging of the volume.
        lab.nomad("alloc", "stop", "-detach", allocs[0])
        lab.wait_gone(allocs[0])
        self.assertEqual(self.cat(allocs[1], "/data/file"), "for all\n")

    def test_two_allocations_write_one_volume_and_mount_options_of_the_job_unstage_nothing(self):
        """With mount options in the job, Nomad unstages under the second allocation when the first one stops."""
        lab = self.lab
        lab.create("pair", modes=("multi-node-multi-writer",))
        options = 'mount_options {\n fs_type = "xfs"\n mount_flags = ["noatime"]\n }'
        lab.submit("writers", job("writers", "pair", "echo $NOMAD_ALLOC_ID >> /data/who; sync; " + WRITER,
                                  mode="multi-node-multi-writer", count=2, use=options))
        allocs = wait_for(lambda: f"two writers run: {lab.describe('writers')}", lambda: (
            lambda running: running if len(running) == 2 else None)([a["ID"] for a in lab.allocs("writers") if a["ClientStatus"] == "running"]))
        wait_for("both have written", lambda: sorted(self.cat(allocs[0], "/data/who").split()) == sorted(allocs))
        # The job is made smaller: one stops for good.
        lab.submit("writers", job("writers", "pair", "echo $NOMAD_ALLOC_ID >> /data/who; sync; " + WRITER, mode="multi-node-multi-writer",
                                  count=1, use=options))
        left = wait_for("one is left", lambda: (lambda running: running if len(running) == 1 else None)(
            [a["ID"] for a in lab.allocs("writers") if a["ClientStatus"] == "running"]))[0]
        wait_for(lambda: f"the other has given up its claim: {lab.claims()}", lambda: [c["owner"] for c in lab.claims()] == [f"alloc {left}"])
        lab.exec(left, "sh", "-c", "echo still > /data/file && sync && cat /data/file")

    def test_a_single_writer_hands_over_when_it_stops(self):
        lab = self.lab
        lab.create("baton")
        first = self.start("first", "baton", "echo mine > /data/file; sync; " + WRITER)
        lab.submit("second", job("second", "baton", "sleep 1000", restarts=100))
        # Nomad places nobody else while the writer has it.
        evaluation = wait_for(lambda: f"second is blocked: {lab.describe('second')}",
                              lambda: [e for e in lab.api("job/second/evaluations") if e["Status"] == "blocked"] or None)
        self.assertIn("exhausted", str(evaluation) + str(lab.api("job/second/evaluations")))
        self.check_writes_on(first)
        self.assertEqual(lab.allocs("second"), [])
        self.stop("first")


        def look():
            # Nomad looks again when an allocation ends; its claim may go a moment later, and then nobody looks any more.
            if not lab.allocs("second"):
                lab.nomad("job", "eval", "-detach", "second")
            return [a["ID"] for a in lab.allocs("second") if a["ClientStatus"] == "running"]
        second = wait_for(lambda: f"second runs: {lab.describe('second')}", look, every=1)[0]
        self.assertEqual(self.cat(second, "/data/file"), "mine\n")
        wait_for(lambda: f"the claim is the second's: {lab.claims()}", lambda: [c["owner"] for c in lab.claims()] == [f"alloc {second}"])

    def test_a_volume_grows_while_it_is_claimed(self):
        lab = self.lab
        lab.create("grows")
        alloc = self.start("grower", "grows", WRITER)
        before = self.df_mib(alloc)
        lab.create("grows", size="1GiB")
        wait_for(lambda: f"the file system has grown: {self.df_mib(alloc)} MiB", lambda: self.df_mib(alloc) > before + 400)
        self.assertRegex(lab.nomad("volume", "status", "grows").stdout, r"Capacity += 1\.0 GiB")
        self.check_writes_on(alloc)


class Csi3Trouble(CsiCase):
    """The shim, the agent and the daemon stop, restart and die under a task that writes; nothing happens to it."""

    def setUp(self):
        self.lab.create("busy")
        self.alloc = self.start("busy", "busy", WRITER)
        self.wait_file(self.alloc, "/data/ticks")
        self.external = self.lab.volume("busy")["ExternalID"]

    def tearDown(self):
        lab = self.lab
        if not lab.daemon:
            lab.start_daemon()
        if not lab.agent:
            lab.start_agent()
        lab.wait_plugin()
        lab.wait_healthy()
        super().tearDown()

    def check_unharmed(self):
        self.check_writes_on(self.alloc)
        self.assertEqual(self.lab.wait_alloc("busy", "running")["ID"], self.alloc)
        self.assertEqual([c["owner"] for c in self.lab.claims()], [f"alloc {self.alloc}"])

    def check_hands_over(self):
        """The volume can still be given back, and taken by the next."""
        self.stop("busy")
        self.lab.wait_free("busy")
        self.lab.wait_healthy()
        other = self.start("next", "busy", "sleep 1000")
        self.assertIn("tick", self.cat(other, "/data/ticks"))
        self.stop("next")

    def test_the_shim_restarts(self):
        alloc, before = self.lab.shim()
        self.lab.nomad("alloc", "restart", alloc)
        wait_for("another shim runs", lambda: self.lab.shim()[1] and self.lab.shim()[1] != before)
        self.lab.wait_plugin()
        self.check_unharmed()
        self.check_hands_over()

    def test_the_shim_is_killed(self):
        _, before = self.lab.shim()
        self.assertEqual(len(before), 1)
        os.kill(before[0], signal.SIGKILL)
        self.check_unharmed()
        wait_for("another shim runs", lambda: self.lab.shim()[1] and self.lab.shim()[1] != before)
        self.lab.wait_plugin()
        self.check_hands_over()

    def test_the_plugin_job_is_stopped_and_started(self):
        alloc, _ = self.lab.shim()
        self.lab.nomad("job", "stop", "-detach", "plugin-" + PLUGIN)
        self.lab.wait_gone(alloc)
        self.check_unharmed()
        self.lab.start_plugin()
        self.check_unharmed()
        self.check_hands_over()

    def test_the_daemon_restarts(self):
        self.lab.end("daemon")
        self.check_writes_on(self.alloc)
        self.lab.start_daemon()
        self.check_unharmed()
        self.lab.wait_plugin()
        self.check_hands_over()

    def test_the_daemon_is_killed(self):
        self.lab.kill("daemon")
        self.check_writes_on(self.alloc)
        self.lab.start_daemon()
        self.check_unharmed()
        self.lab.wait_plugin()
        self.check_hands_over()

    def test_a_job_stops_while_the_daemon_is_away(self):
        self.lab.kill("daemon")
        self.lab.nomad("job", "stop", "-detach", "busy")
        wait_for("the task has ended", lambda: self.lab.task_states(self.alloc)["t"]["State"] == "dead")
        self.lab.start_daemon()
        # Nomad tries again, up to a minute apart.
        wait_for(lambda: f"the volume is given back: {self.lab.claims()}", lambda: not self.lab.claims(), limit=180)
        self.lab.wait_free("busy")
        self.lab.wait_plugin()
        self.lab.wait_healthy()
        other = self.start("next", "busy", "sleep 1000")
        self.assertIn("tick", self.cat(other, "/data/ticks"))

    def test_the_agent_restarts(self):
        self.lab.end("agent")
        self.lab.start_agent()
        self.lab.wait_plugin()
        self.check_unharmed()
        self.check_hands_over()

    def test_the_agent_is_killed(self):
        self.lab.kill("agent")
        self.lab.start_agent()
        self.lab.wait_plugin()
        self.check_unharmed()
        self.check_hands_over()

    def test_everything_is_killed_at_once(self):
        _, shim = self.lab.shim()
        self.lab.kill("agent")
        self.lab.kill("daemon")
        os.kill(shim[0], signal.SIGKILL)
        self.lab.start_daemon()
        self.lab.start_agent()
        self.lab.wait_plugin()
        self.check_unharmed()
        self.check_hands_over()

    def test_a_drained_node_gives_the_volume_back(self):
        lab = self.lab
        node = lab.api("nodes")[0]["ID"]
        lab.nomad("node", "drain", "-enable", "-ignore-system", "-yes", "-detach", "-deadline", "1m", node)
        lab.wait_gone(self.alloc)
        wait_for(lambda: f"the volume is given back: {lab.claims()} {lab.mounts()}", lambda: not lab.claims() and not lab.mounts())
        self.assertEqual(lab.plugin()["NodesHealthy"], 1)  # the shim stays
        lab.nomad("node", "drain", "-disable", "-yes", node)
        again = lab.wait_alloc("busy", "running", other_than=(self.alloc,))["ID"]
        self.assertIn("tick", self.cat(again, "/data/ticks"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    BUILD, NOMAD = os.path.abspath(sys.argv[1]), os.path.realpath(sys.argv[2])
    subprocess.run([NOMAD, "version"], check=True)
    cases.main([sys.argv[0], *sys.argv[3:]])
