#!/usr/bin/env python3
"""Dynamic host volumes by cleat-dhv, under a real Nomad agent, with the real command line.

    dhv_test.py BUILD_DIR NOMAD_PROGRAM [unittest options]

Tasks that use volumes run in the driver cleat, which mounts what Nomad gives it; nothing here uses its own volumes.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))
sys.dont_write_bytecode = True
import cases  # noqa: E402  (the path is ours)
import nomad_test  # noqa: E402
from lab import Lab, read, wait_for  # noqa: E402

BUILD = NOMAD = None
PLUGIN = "cleat-dhv"
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../examples/nomad/dhv")

VOLUME = """
{id}
name         = "{name}"
type         = "host"
plugin_id    = "{plugin}"
capacity_min = "{size}"
capacity_max = "{most}"
capability {{
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}}
parameters {{
  {parameters}
}}
"""

REGISTERED = """
name      = "{name}"
type      = "host"
node_id   = "{node}"
host_path = "{path}"
capacity  = "{size}"
capability {{
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}}
"""

USE = """
    volume "data" {{
      type            = "host"
      source          = "{name}"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
      {more}
    }}
"""

MOUNT = """
      volume_mount {
        volume      = "data"
        destination = "/data"
      }
"""

# Writes for as long as it lives; a write that fails is a failure that is seen.
WRITER = r"""echo begun >> /data/begun; i=0
while :; do echo tick $i > /data/ticks.new && mv /data/ticks.new /data/ticks || echo broken >&2; i=$((i+1)); sleep 0.1; done"""


def user_of(name, volume, script=WRITER, more="", **options):
    """A job whose task has the volume at /data."""
    return nomad_test.job(name, script, group=USE.format(name=volume, more=more), task=MOUNT, **options)


class DhvLab(Lab):
    """A lab whose agent has the plugin, with a file of settings beside it, as the guide says."""

    def __init__(self, build, nomad):
        super().__init__(build, nomad)
        self.plugins = f"{self.dir}/nomad/host_volume_plugins"
        os.makedirs(self.plugins)
        shutil.copy2(f"{build}/bin/cleat-dhv", f"{self.plugins}/{PLUGIN}")
        with open(f"{self.plugins}/{PLUGIN}.conf", "w", encoding="utf-8") as f:
            f.write(read(f"{EXAMPLES}/cleat-dhv.conf").replace("/run/cleat/cleat.sock", f"{self.dir}/run/cleat.sock") + "mode: 0777\n")

    # ---- volumes ----

    def write_spec(self, name, text):
        path = f"{self.dir}/jobs/{name}.volume.hcl"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def spec(self, name, size="64MiB", most="1GiB", parameters="", id=None):
        return self.write_spec(name, VOLUME.format(id=f'id = "{id}"' if id else "", name=name, plugin=PLUGIN, size=size, most=most,
                                                   parameters=parameters))

    def create(self, name, **more):
        """Creates the volume and waits until Nomad has it: its id."""
        out = self.nomad("volume", "create", "-detach", self.spec(name, **more)).stdout
        found = re.search(r"with ID ([0-9a-f-]{36})", out)
        assert found, out
        self.wait_state(found[1], "ready")
        return found[1]

    def try_create(self, name, **more):
        done = self.nomad("volume", "create", "-detach", self.spec(name, **more), check=False)
        return done.returncode, done.stdout + done.stderr

    def volume(self, id):
        return self.api(f"volume/host/{id}")

    def volumes(self):
        return self.api("volumes?type=host") or []

    def wait_state(self, id, state, limit=90):
        wait_for(lambda: f"volume {id} is {state}: {self.volume(id)['State']}; the agent's log ends with "
                 + read(f"{self.dir}/agent.log")[-1500:], lambda: self.volume(id)["State"] == state, limit)

    def delete(self, id, check=True):
        done = self.nomad("volume", "delete", "-type", "host", id, check=check)
        return done.returncode, done.stdout + done.stderr

    # ---- what there is ----

    def ours(self):
        return self.cleat_json("volume", "list", "--all-scopes").get("volumes", [])

    def claims(self):
        return self.cleat_json("claim", "list").get("claims", [])

    def mounts(self):
        mounts = [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()]
        return [m for m in mounts if m.startswith(f"{self.dir}/run/mnt/published/") or m.startswith(f"{self.dir}/run/mnt/stage/")]

    def records(self):
        folder = f"{self.dir}/nomad/host_volumes"
        return os.listdir(folder) if os.path.isdir(folder) else []

    def left_of_volumes(self):
        return [str(x) for x in self.volumes() + self.ours() + self.claims() + self.mounts() + self.records()]

    # ---- the machine ----

    def reboot(self):
        """Everything that runs is gone, everything that was mounted is not, and what is on a tmpfs is lost."""
        self.kill("agent")
        self.kill("daemon")
        for pid in self.plugin_pids() + self.helper_pids():
            os.kill(pid, signal.SIGKILL)
        self._remove_containers()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if f"{self.dir}/driver/" in read(f"/proc/{pid}/cmdline"):
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                pass
        self._unmount()
        wait_for(lambda: f"nothing is mounted: {self.mounts()}", lambda: not self.mounts())
        for folder in ("run", "driver"):
            shutil.rmtree(f"{self.dir}/{folder}", ignore_errors=True)
        os.mkdir(f"{self.dir}/run")


class DhvCase(nomad_test.LabCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = DhvLab(BUILD, NOMAD)
        cls.addClassCleanup(cls.lab.close)
        cls.lab.start_daemon()
        cls.lab.start_agent()
        cls.lab.wait_healthy()

    def tearDown(self):
        """Jobs end, volumes are deleted, and then there is nothing."""
        lab = self.lab
        for j in lab.api("jobs"):
            lab.nomad("job", "stop", "-detach", j["ID"], check=False)
        lab.wait_no_tasks()
        for j in lab.api("jobs"):
            lab.stop_job(j["ID"])
        for v in lab.volumes():
            wait_for(lambda: f"volume {v['Name']} can be deleted: {lab.delete(v['ID'], check=False)}",
                     lambda: lab.delete(v["ID"], check=False)[0] == 0)
        wait_for(lambda: f"nothing is left over: {lab.left_of_volumes()} {lab.left_over()}",
                 lambda: not lab.left_of_volumes() and not lab.left_over())

    def cat(self, alloc, path):
        return self.lab.exec(alloc, "/bin/cat", path).stdout

    def ticks(self, alloc):
        return int(self.cat(alloc, "/data/ticks").split()[1])

    def wait_ticks(self, alloc):
        now = self.ticks(alloc)
        wait_for("the task goes on", lambda: self.ticks(alloc) > now)


class Dhv1Plugin(DhvCase):
    def test_the_agent_finds_the_plugin_and_not_its_settings(self):
        attributes = self.lab.node()["Attributes"]
        self.assertRegex(attributes[f"plugins.host_volume.{PLUGIN}.version"], r"^\d+\.\d+\.\d+$")
        self.assertNotIn(f"plugins.host_volume.{PLUGIN}.conf.version", attributes)

    def test_the_agent_starts_without_a_daemon_and_with_broken_settings(self):
        lab = DhvLab(BUILD, NOMAD)
        self.addCleanup(lab.close)
        with open(f"{lab.plugins}/{PLUGIN}.conf", "a", encoding="utf-8") as f:
            f.write("nonsense\n")
        lab.start_agent()
        self.assertIn(f"plugins.host_volume.{PLUGIN}.version", lab.node()["Attributes"])
        code, text = lab.try_create("early")
        self.assertNotEqual(code, 0)
        self.assertRegex(text, r"cleat-dhv\.conf': line \d+: 'nonsense'")
        with open(f"{lab.plugins}/{PLUGIN}.conf", "w", encoding="utf-8") as f:
            f.write(f"socket: {lab.dir}/run/cleat.sock\n")
        code, text = lab.try_create("early")
        self.assertNotEqual(code, 0)
        self.assertIn(f"no daemon at '{lab.dir}/run/cleat.sock'", text)
        self.assertFalse(lab.records())


class Dhv2Volume(DhvCase):
    def test_created_used_and_deleted(self):
        lab = self.lab
        id = lab.create("pgdata", size="64MiB", parameters='fs = "ext4"\n uid = "0"\n mode = "0750"')
        volume = lab.volume(id)
        self.assertGreaterEqual(volume["CapacityBytes"], 64 << 20)
        self.assertIn(volume["HostPath"], lab.mounts())
        ours = lab.ours()[0]
        self.assertEqual((ours["name"], ours["scope"], ours["labels"]["nomad.volume"]), ("pgdata", "default", id))
        self.assertEqual(os.stat(volume["HostPath"]).st_mode & 0o7777, 0o750)
        alloc = self.start("writer", user_of("writer", "pgdata"))
        wait_for("it writes", lambda: os.path.exists(f"{volume['HostPath']}/ticks"))
        self.wait_ticks(alloc)
        self.assertIn("nomad", self.lab.claims()[0]["owner"].lower())
        code, text = lab.delete(id, check=False)  # Nomad itself keeps what is used
        self.assertNotEqual(code, 0)
        self.assertIn("in use", text)
        lab.stop_job("writer")
        lab.wait_no_tasks()
        alloc, _, failed = self.exit_of("reader", user_of("reader", "pgdata", "cat /data/begun", type="batch"))
        self.assertFalse(failed)
        self.wait_output(alloc, "begun")

    def test_its_size_is_its_size(self):
        self.lab.create("small", size="32MiB", most="40MiB")
        alloc, _, failed = self.exit_of("filler", user_of("filler", "small", "dd if=/dev/zero of=/data/big bs=1M count=100", type="batch"))
        self.assertTrue(failed)
        self.assertIn("No space left", self.output(alloc, stderr=True))

    def test_grows_by_an_update(self):
        lab = self.lab
        for fs, before, after in (("ext4", 64, 128), ("xfs", 320, 512)):
            with self.subTest(fs=fs):
                id = lab.create("growing", size=f"{before}MiB", parameters=f'fs = "{fs}"')
                path = lab.volume(id)["HostPath"]
                with open(f"{path}/kept", "w", encoding="utf-8") as f:
                    f.write("kept")
                lab.nomad("volume", "create", "-detach", lab.spec("growing", size=f"{after}MiB", parameters=f'fs = "{fs}"', id=id))
                lab.wait_state(id, "ready")
                self.assertGreaterEqual(lab.volume(id)["CapacityBytes"], after << 20)
                self.assertEqual(lab.volume(id)["HostPath"], path)
                alloc, _, failed = self.exit_of("looker", user_of("looker", "growing", "cat /data/kept; df -m --output=size /data", type="batch"))
                self.assertFalse(failed)
                self.wait_output(alloc, "kept")
                self.assertGreater(int(self.output(alloc).split()[-1]), before * 1.2)
                lab.stop_job("looker")
                lab.wait_no_tasks()
                wait_for("it can be deleted", lambda: lab.delete(id, check=False)[0] == 0)

    def test_an_update_that_fails_changes_nothing(self):
        lab = self.lab
        id = lab.create("steady", most="100TiB", parameters='fs = "ext4"')
        path = lab.volume(id)["HostPath"]
        code, text = lab.try_create("steady", size="90TiB", most="100TiB", parameters='fs = "ext4"', id=id)
        self.assertNotEqual(code, 0)
        self.assertIn("left to promise", text)
        code, text = lab.try_create("steady", most="100TiB", parameters='fs = "xfs"', id=id)
        self.assertNotEqual(code, 0)
        self.assertIn("parameter 'fs': value 'xfs'", text)
        self.assertEqual((lab.volume(id)["State"], lab.volume(id)["HostPath"]), ("ready", path))
        lab.kill("agent")
        lab.start_agent()
        lab.wait_state(id, "ready")

    def test_what_is_wrong_is_told_to_the_user(self):
        for parameters, words in (('fs = "ntfs"', "'ntfs'"), ('colour = "blue"', "unknown parameter 'colour'"), ('pool = "none"', "'none'"),
                                  ('on_delete = "burn"', "parameter 'on_delete': value 'burn'")):
            code, text = self.lab.try_create("wrong", parameters=parameters)
            self.assertNotEqual(code, 0)
            self.assertIn(words, text)
        self.assertFalse(self.lab.left_of_volumes())
        self.lab.create("wrong")  # the name is free

    def test_delete_is_refused_while_another_door_uses_it(self):
        lab = self.lab
        id = lab.create("shared")
        lab.cleat("volume", "publish", "--scope", "default", "default/shared", f"{lab.dir}/shared/here", "--owner", "a colleague")
        code, text = lab.delete(id, check=False)
        self.assertNotEqual(code, 0)
        self.assertIn("in use by 'a colleague'", text)
        self.assertIn(lab.volume(id)["HostPath"], lab.mounts())
        lab.cleat("volume", "unpublish", "--scope", "default", "default/shared", f"{lab.dir}/shared/here")
        lab.delete(id)

    def test_delete_of_what_is_gone(self):
        lab = self.lab
        id = lab.create("gone")
        lab.cleat("volume", "unpublish", "--scope", "default", "default/gone")
        lab.cleat("volume", "delete", "--scope", "default", "default/gone")
        lab.delete(id)

    def test_the_same_name_after_a_forced_delete(self):
        """A volume that Nomad forgets by force is found by its label, and its name does not get in the way."""
        lab = self.lab
        first = lab.create("again", parameters='on_delete = "keep"')
        path = lab.volume(first)["HostPath"]
        with open(f"{path}/kept", "w", encoding="utf-8") as f:
            f.write("kept")
        lab.delete(first)
        second = lab.create("again")
        self.assertNotEqual(lab.volume(second)["HostPath"], path)
        self.assertEqual(sorted(v["name"] for v in lab.ours()), ["again", "again." + second[:8]])
        lab.delete(second)
        third = lab.create("taken", parameters='volume = "default/again"')
        self.assertEqual(lab.volume(third)["HostPath"], path)
        self.assertEqual(read(f"{path}/kept"), "kept")
        lab.delete(third)  # it was there before, and stays
        lab.cleat("volume", "delete", "--scope", "default", "default/again")

    def test_sticky(self):
        lab = self.lab
        lab.create("sticky")
        first = self.start("stick", user_of("stick", "sticky", more="sticky = true"))
        wait_for("it writes", lambda: self.cat(first, "/data/begun") == "begun\n")
        claims = json.loads(lab.nomad("volume", "claim", "list", "-json").stdout)
        self.assertEqual([c["JobID"] for c in claims], ["stick"])
        lab.nomad("alloc", "stop", "-detach", first)
        second = lab.wait_alloc("stick", "running", other_than=(first,))["ID"]
        wait_for("it is back", lambda: self.cat(second, "/data/begun") == "begun\nbegun\n")
        lab.stop_job("stick")
        lab.wait_no_tasks()
        lab.nomad("volume", "claim", "delete", "-y", claims[0]["ID"], check=False)

    def test_register_takes_what_is_published(self):
        """A volume made by hand, registered by its path: Nomad asks no plugin about it."""
        lab = self.lab
        lab.cleat("volume", "create", "byhand", "--size", "64MiB", "--mode", "0777")
        path = lab.cleat("volume", "publish", "byhand", "--owner", "Nomad, registered").stdout.strip()
        with open(f"{path}/kept", "w", encoding="utf-8") as f:
            f.write("kept")
        text = REGISTERED.format(name="byhand", node=lab.api("nodes")[0]["ID"], path=path, size="64MiB")
        out = lab.nomad("volume", "register", lab.write_spec("byhand", text)).stdout
        id = re.search(r"with ID ([0-9a-f-]{36})", out)[1]
        lab.wait_state(id, "ready")
        alloc = self.start("user", user_of("user", "byhand", "cat /data/kept; " + WRITER))
        self.wait_output(alloc, "kept")
        lab.kill("agent")
        lab.start_agent()
        self.wait_ticks(alloc)
        lab.stop_job("user")
        lab.wait_no_tasks()
        wait_for("it can be deleted", lambda: lab.delete(id, check=False)[0] == 0)
        self.assertEqual(read(f"{path}/kept"), "kept")
        lab.cleat("volume", "unpublish", "byhand")
        lab.cleat("volume", "delete", "byhand")

    def test_by_the_driver_exec(self):
        """Nomad's own driver binds it as any other directory."""
        lab = self.lab
        if not (lab.node()["Drivers"].get("exec") or {}).get("Healthy"):
            self.skipTest("Nomad's driver exec does not run on this machine: " + str(lab.node()["Drivers"].get("exec", {}).get("HealthDescription")))
        lab.create("chrooted")
        text = user_of("chrooted", "chrooted").replace('driver       = "cleat"', 'driver       = "exec"')
        alloc = self.start("chrooted", text)
        path = lab.volume(lab.volumes()[0]["ID"])["HostPath"]
        wait_for(lambda: f"it writes: {lab.describe('chrooted')}", lambda: os.path.exists(f"{path}/ticks"))
        self.assertIn("tick", self.cat(alloc, "/data/ticks"))
        lab.nomad("job", "stop", "-detach", "chrooted")
        lab.wait_gone(alloc)


    def test_the_example_counts_on(self):
        lab = self.lab
        volume, text = f"{EXAMPLES}/counter.volume.hcl", read(f"{EXAMPLES}/counter.nomad.hcl")
        if not (lab.node()["Drivers"].get("exec") or {}).get("Healthy"):
            text = text.replace('driver = "exec"', 'driver = "cleat"').replace('"${NOMAD_TASK_DIR}/count.sh"', '"/local/count.sh"')
        id = re.search(r"with ID ([0-9a-f-]{36})", lab.nomad("volume", "create", "-detach", volume).stdout)[1]
        lab.wait_state(id, "ready")
        for start in (1, 2):
            alloc = self.start("counter", text)
            self.wait_output(alloc, f"start number {start}")
            path = f"{lab.volume(id)['HostPath']}/seconds"
            wait_for("it counts", lambda: os.path.exists(path) and int(read(path) or 0) >= start)
            lab.nomad("job", "stop", "-detach", "counter")
            lab.wait_gone(alloc)
            lab.stop_job("counter")
        self.assertEqual(os.stat(lab.volume(id)["HostPath"]).st_uid, 65534)


class Dhv3Restart(DhvCase):
    """One task that writes all the time, while everything around it ends and begins again."""

    def setUp(self):
        self.volume_id = self.lab.create("busy")
        self.path = self.lab.volume(self.volume_id)["HostPath"]
        self.alloc = self.start("busy", user_of("busy", "busy"))
        wait_for("it writes", lambda: os.path.exists(f"{self.path}/ticks"))

    def check_unharmed(self):
        lab = self.lab
        lab.wait_healthy()
        lab.wait_state(self.volume_id, "ready")
        self.wait_ticks(self.alloc)
        self.assertEqual(self.cat(self.alloc, "/data/begun"), "begun\n")  # it has never begun again
        self.assertNotIn("broken", self.output(self.alloc, stderr=True))
        self.assertEqual([a["ID"] for a in lab.allocs("busy")], [self.alloc])
        self.assertEqual(self.lab.api(f"allocation/{self.alloc}")["ClientStatus"], "running")
        self.assertEqual([c["target"] for c in lab.claims()], [self.path])

    def test_the_agent_is_killed(self):
        self.lab.kill("agent")
        self.lab.start_agent()
        self.check_unharmed()

    def test_the_agent_ends_in_order(self):
        self.lab.end("agent")
        self.lab.start_agent()
        self.check_unharmed()

    def test_the_daemon_is_killed(self):
        self.lab.kill("daemon")
        self.lab.start_daemon()
        self.check_unharmed()

    def test_the_agent_starts_while_there_is_no_daemon(self):
        self.lab.kill("agent")
        self.lab.kill("daemon")
        self.lab.start_agent()
        self.lab.wait_state(self.volume_id, "ready")
        before = read(f"{self.path}/ticks")
        wait_for("the task goes on", lambda: read(f"{self.path}/ticks") != before)
        self.lab.start_daemon()
        self.check_unharmed()

    def test_the_plugin_is_replaced_while_it_is_used(self):
        shutil.copy2(f"{BUILD}/bin/cleat-dhv", f"{self.lab.plugins}/.new")
        os.rename(f"{self.lab.plugins}/.new", f"{self.lab.plugins}/{PLUGIN}")
        self.lab.agent.send_signal(signal.SIGHUP)
        self.lab.kill("agent")
        self.lab.start_agent()
        self.check_unharmed()

    def test_a_drained_node_keeps_it_and_gets_its_task_back(self):
        lab = self.lab
        node = lab.api("nodes")[0]["ID"]
        lab.nomad("node", "drain", "-enable", "-yes", "-detach", "-deadline", "1m", node)
        lab.wait_gone(self.alloc)
        self.assertIn(self.path, lab.mounts())
        lab.nomad("node", "drain", "-disable", "-yes", node)
        again = lab.wait_alloc("busy", "running", other_than=(self.alloc,))["ID"]
        wait_for("the next one has the data", lambda: self.cat(again, "/data/begun") == "begun\nbegun\n")


class Dhv4Reboot(DhvCase):
    def test_path_and_data_are_the_same_and_the_task_begins_again(self):
        lab = self.lab
        id = lab.create("durable", parameters='fs = "xfs"', size="320MiB")
        path = lab.volume(id)["HostPath"]
        alloc = self.start("durable", user_of("durable", "durable", restarts=10))
        wait_for("it writes", lambda: os.path.exists(f"{path}/ticks"))
        self.wait_ticks(alloc)
        lab.reboot()
        # The agent comes up before the daemon: it waits for it.
        lab.agent = lab._spawn("agent", [lab.program, "agent", "-config", f"{lab.dir}/agent.hcl"])
        wait_for("the plugin is asked", lambda: f"operation=create" in read(f"{lab.dir}/agent.log").rsplit("==> Nomad agent configuration", 1)[-1])
        lab.start_daemon()
        wait_for("the node is ready", lab._node_ready)
        lab.wait_healthy()
        lab.wait_state(id, "ready")
        self.assertEqual(lab.volume(id)["HostPath"], path)
        self.assertIn(path, lab.mounts())
        again = lab.wait_alloc("durable", "running")["ID"]
        wait_for(lambda: f"the task has its data: {lab.describe('durable')}",
                 lambda: lab.exec(again, "/bin/cat", "/data/begun", check=False).stdout.startswith("begun\nbegun\n"))
        self.wait_ticks(again)

    def test_one_volume_that_is_lost_does_not_hold_up_the_others(self):
        lab = self.lab
        lost, kept = lab.create("lost"), lab.create("kept")
        path = lab.volume(kept)["HostPath"]
        lab.cleat("volume", "unpublish", "--scope", "default", "default/lost")
        lab.cleat("volume", "delete", "--scope", "default", "default/lost")
        lab.reboot()
        lab.start_daemon()
        lab.start_agent()
        lab.wait_state(kept, "ready")
        self.assertIn(path, lab.mounts())
        self.assertEqual(len(lab.ours()), 1)  # nothing was made in place of the lost one
        self.assertIn("is gone", read(f"{lab.dir}/agent.log"))
        lab.wait_state(lost, "unavailable")
        lab.delete(lost)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    BUILD, NOMAD = os.path.abspath(sys.argv[1]), os.path.realpath(sys.argv[2])
    subprocess.run([NOMAD, "version"], check=True)
    cases.main([sys.argv[0], *sys.argv[3:]])
