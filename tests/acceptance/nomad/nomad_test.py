#!/usr/bin/env python3
"""The driver under a real Nomad agent, with the real command line.

    nomad_test.py BUILD_DIR NOMAD_PROGRAM [unittest options]
"""
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../lib"))
sys.dont_write_bytecode = True
import cases  # noqa: E402  (the path is ours)
from lab import Lab, WAIT_S, alive, read, wait_for  # noqa: E402

BUILD = NOMAD = None

JOB = """
job "{name}" {{
  type = "{type}"
  group "g" {{
    count = {count}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    restart {{
      attempts = {restarts}
      interval = "10m"
      delay    = "2s"
      mode     = "fail"
    }}
    update {{
      min_healthy_time = "0s"
    }}
    ephemeral_disk {{
      size = 20
    }}
    {group}
    task "t" {{
      driver       = "cleat"
      kill_timeout = "{kill_timeout}"
      {task}
      config {{
        command = "{command}"
        args    = {args}
        {config}
      }}
      {logs}
      resources {{
        cpu    = 20
        memory = {memory}
      }}
    }}
  }}
}}
"""

VOLUME = """
        volume {{
          name        = "{name}"
          create      = true
          size        = "{size}"
          destination = "/data"
          {more}
        }}
"""

# A task that says what it hears: signals are trapped, because a shell that is the first process gets no others.
LISTENER = r"""trap 'echo got-hup' HUP; trap 'echo got-term; exit 7' TERM; echo started; i=0
while :; do echo tick $i >> /data/ticks 2>/dev/null; i=$((i+1)); sleep 0.2; done"""


def job(name, script=None, *, command="/bin/sh", args=None, type="service", count=1, restarts=0, group="", task="", config="", memory=32,
        kill_timeout="5s", logs="logs {\n max_files = 2\n max_file_size = 5\n }"):
    if args is None:
        args = ["-c", script]
    text = "[" + ", ".join('"' + a.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("${", "$${") + '"'
                           for a in args) + "]"
    if type == "batch":
        group = group + "\n"
    return JOB.format(name=name, type=type, count=count, restarts=restarts, group=group, task=task, command=command, args=text,
                      config=config, memory=memory, kill_timeout=kill_timeout, logs=logs).replace(
                          "update {\n      min_healthy_time = \"0s\"\n    }", "" if type == "batch" else "update {\n      min_healthy_time = \"0s\"\n    }")


def volume(name, size="32MiB", more=""):
    return VOLUME.format(name=name, size=size, more=more)


class LabCase(unittest.TestCase):
    plugin = client = ""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab(BUILD, NOMAD, cls.plugin, cls.client)
        cls.addClassCleanup(cls.lab.close)
        cls.lab.start_daemon()
        cls.lab.start_agent()
        cls.lab.wait_healthy()

    def tearDown(self):
        """What every test leaves must be nothing."""
        for j in self.lab.api("jobs"):
            self.lab.nomad("job", "stop", "-detach", j["ID"], check=False)
        self.lab.wait_no_tasks()
        for j in self.lab.api("jobs"):
            self.lab.stop_job(j["ID"])
        wait_for(lambda: f"nothing is left over: {self.lab.left_over()}", lambda: not self.lab.left_over())

    def start(self, name, text):
        self.lab.submit(name, text)
        return self.lab.wait_alloc(name, "running")["ID"]

    def exit_of(self, name, text):
        """Runs a job to its end: (allocation, events, failed)."""
        self.lab.submit(name, text)
        alloc = wait_for("an allocation", lambda: self.lab.allocs(name))[0]["ID"]
        self.lab.wait_gone(alloc)
        states = self.lab.task_states(alloc)
        return alloc, self.lab.events(alloc), any(s["Failed"] for s in states.values())

    def output(self, alloc, stderr=False):
        return self.lab.nomad("alloc", "logs", *(["-stderr"] if stderr else []), alloc).stdout

    def wait_output(self, alloc, text):
        wait_for(lambda: f"the task says '{text}': {self.output(alloc)}", lambda: text in self.output(alloc))


class Case1Plugin(unittest.TestCase):
    """The plugin loads, also without a daemon, and tells what there is."""

    def test_agent_without_daemon(self):
        lab = Lab(BUILD, NOMAD)
        self.addCleanup(lab.close)
        lab.start_agent()
        lab.wait_healthy(False)
        self.assertIn(f"{lab.dir}/run/cleat.sock", lab.driver()["HealthDescription"])
        self.assertTrue(lab.driver()["Detected"])
        lab.start_daemon()
        lab.wait_healthy()
        attributes = wait_for("attributes with the pool's free space", lambda: (a := lab.node()["Attributes"]) and
                              "driver.cleat.pool.default.free_percent" in a and a)
        self.assertEqual(attributes["driver.cleat"], "1")
        self.assertEqual(attributes["driver.cleat.pools"], "default")
        self.assertEqual(attributes["driver.cleat.backends"], "loop")
        self.assertEqual(attributes["driver.cleat.daemon.healthy"], "true")
        self.assertEqual(int(attributes["driver.cleat.pool.default.free_percent"]) % 5, 0)
        self.assertRegex(attributes["driver.cleat.version"], r"^\d+\.\d+\.\d+$")
        lab.cleat("volume", "create", "here", "--size", "16MiB", "--scope", "default")
        key = "driver.cleat.volume.default.here"
        wait_for("the volume is told", lambda: lab.node()["Attributes"].get(key) == "default")
        lab.cleat("volume", "delete", "default/here", "--scope", "default")
        wait_for("the volume is not told any more", lambda: not lab.node()["Attributes"].get(key))
        lab.kill("daemon")
        lab.wait_healthy(False)
        lab.start_daemon()
        lab.wait_healthy()


class Case2Volumes(LabCase):
    """A job names a volume, and the task gets it."""

    def test_volume_as_asked_for_and_data_survives(self):
        text = job("keeps", "sleep 1000", kill_timeout="1s", config=volume("keeps", "64MiB", """
          fs = "ext4"
          options = {
            uid  = "999"
            gid  = "998"
            mode = "0750"
          }"""))
        first = self.start("keeps", text)
        self.assertEqual(self.lab.exec(first, "stat", "-c", "%u %g %a %m", "/data").stdout.split(), ["999", "998", "750", "/data"])
        kib = int(self.lab.exec(first, "df", "--output=size", "-k", "/data").stdout.split()[1])
        self.assertTrue(50 * 1024 < kib <= 64 * 1024, kib)
        self.assertEqual(self.lab.exec(first, "stat", "-f", "-c", "%T", "/data").stdout.strip(), "ext2/ext3")
        self.lab.exec(first, "sh", "-c", "echo precious > /data/file && sync")
        claims = self.lab.cleat_json("claim", "list")["claims"]
        self.assertEqual([c["owner"] for c in claims], [f"alloc {first} task t"])
        self.assertEqual(self.lab.cleat_json("volume", "list", "--scope", "default")["volumes"][0]["scope"], "default")
        self.lab.wait_event(first, r"Volume 'default/keeps' created, 64 MiB")
        self.lab.wait_event(first, r"Volume 'default/keeps' mounted at '/data'")
        self.lab.nomad("alloc", "stop", "-detach", first)
        second = self.lab.wait_alloc("keeps", "running", other_than=(first,))["ID"]
        self.assertEqual(self.lab.exec(second, "cat", "/data/file").stdout, "precious\n")
        self.lab.wait_event(first, r"Volume 'default/keeps' released")
        # A later version of the job wants more: the volume grows, the data stays.
        self.lab.submit("keeps", text.replace('"64MiB"', '"96MiB"'))
        third = self.lab.wait_alloc("keeps", "running", other_than=(first, second))["ID"]
        self.lab.wait_event(third, r"Volume 'default/keeps' grown from 64 MiB to 96 MiB")
        wait_for("the file system has grown", lambda: int(
            self.lab.exec(third, "df", "--output=size", "-k", "/data").stdout.split()[1]) > 65 * 1024)
        self.assertEqual(self.lab.exec(third, "cat", "/data/file").stdout, "precious\n")

    def test_second_job_waits_for_the_first(self):
        first = self.start("holder", job("holder", "sleep 1000", kill_timeout="1s", config=volume("one")))
        self.lab.submit("waiter", job("waiter", "sleep 1000", restarts=100, kill_timeout="1s", config=volume("one")))
        waiter = wait_for("an allocation", lambda: self.lab.allocs("waiter"))[0]["ID"]
        self.lab.wait_event(waiter, rf"in use: .* by 'alloc {first} task t'")
        self.lab.wait_event(waiter, r"Task restarting")
        self.lab.stop_job("holder")
        self.assertEqual(self.lab.wait_alloc("waiter", "running")["ID"], waiter)

    def test_shared_volume_has_two_users(self):
        shared = volume("both", more='access_mode = "single-node-multi-writer"')
        one = self.start("one", job("one", "sleep 1000", kill_timeout="1s", config=shared))
        other = self.start("other", job("other", "sleep 1000", kill_timeout="1s", config=shared.replace("create      = true", "create      = false")))
        self.lab.exec(one, "sh", "-c", "echo hello > /data/f")
        self.assertEqual(self.lab.exec(other, "cat", "/data/f").stdout, "hello\n")

    def test_read_only(self):
        self.start("writes", job("writes", "echo x > /data/f; sleep 1000", kill_timeout="1s", config=volume("ro")))
        self.lab.stop_job("writes")
        self.lab.wait_no_tasks()
        alloc = self.start("reads", job("reads", "sleep 1000", kill_timeout="1s", config=volume("ro", more="read_only = true")))
        self.assertEqual(self.lab.exec(alloc, "cat", "/data/f").stdout, "x\n")
        self.assertIn("Read-only", self.lab.exec(alloc, "sh", "-c", "echo y > /data/f", check=False).stderr)

    def test_missing_volume_names_pool_and_node(self):
        node = self.lab.node()["Name"]
        config = volume("nowhere").replace("create      = true", "create      = false")
        _, events, failed = self.exit_of("missing", job("missing", "true", type="batch", config=config))
        self.assertTrue(failed)
        self.assertTrue(any(f"pool 'default' on node '{node}'" in e and "'default/nowhere' does not exist" in e for e in events), events)
        self.assertFalse(any("restarting" in e.lower() and "not" not in e.lower() for e in events), events)

    def test_volume_of_no_namespace_is_refused(self):
        self.lab.cleat("volume", "create", "ours", "--size", "16MiB")
        config = volume("ours").replace("create      = true", "create      = false")
        _, events, failed = self.exit_of("foreign", job("foreign", "true", type="batch", config=config))
        self.assertTrue(failed)
        self.assertTrue(any("belongs to scope ''" in e for e in events), events)
        self.lab.cleat("volume", "delete", "default/ours")

    def test_lifetime_of_the_allocation(self):
        alloc = self.start("scratch", job("scratch", "sleep 1000", restarts=3, kill_timeout="1s",
                                          config=volume("scratch", more='lifetime = "allocation"')))
        name = f"scratch-{alloc}"
        names = lambda: [v["name"] for v in self.lab.cleat_json("volume", "list", "--scope", "default").get("volumes", [])]
        self.assertIn(name, names())
        self.lab.exec(alloc, "sh", "-c", "echo kept > /data/f")
        self.lab.nomad("alloc", "restart", alloc)
        self.lab.wait_event(alloc, r"Volume .* released")
        wait_for("it runs again", lambda: self.lab.exec(alloc, "cat", "/data/f", check=False).stdout == "kept\n")
        self.lab.stop_job("scratch")
        self.lab.wait_no_tasks()
        self.assertIn(name, names(), "the volume stays as long as the allocation's directory")
        self.lab.nomad("system", "gc")
        wait_for("the allocation's directory is gone", lambda: not os.path.exists(f"{self.lab.dir}/nomad/alloc/{alloc}"))
        wait_for("the volume is deleted", lambda: name not in names())
        wait_for("nothing remembers it", lambda: not os.listdir(f"{self.lab.dir}/driver/allocs"))

    def test_daemon_down_is_waited_for(self):
        self.lab.kill("daemon")
        self.lab.wait_healthy(False)
        # Placement needs a healthy driver, so the task is restarted on the node that it is on already.
        self.lab.start_daemon()
        self.lab.wait_healthy()
        alloc = self.start("down", job("down", "sleep 1000", restarts=100, kill_timeout="1s", config=volume("down")))
        self.lab.kill("daemon")
        self.lab.nomad("alloc", "restart", "-task", "t", alloc, check=False)
        self.lab.wait_event(alloc, r"volume daemon does not answer at .*is cleatd running")
        self.lab.start_daemon()
        wait_for("it runs again", lambda: self.lab.exec(alloc, "stat", "-c", "%m", "/data", check=False).stdout == "/data\n")

    def test_bad_values_are_refused_by_name(self):
        for field, line, words in (
                ("size", 'size = "many"', r"size: 'many' is no size"),
                ("destination", 'destination = "data"', r"destination: 'data' is no absolute path"),
                ("destination", 'destination = "/a/../b"', r"destination: '/a/../b' must not contain"),
                ("access_mode", 'access_mode = "exclusive"', r"access_mode: 'exclusive' is no access mode"),
                ("lifetime", 'lifetime = "ever"', r"lifetime: 'ever' is neither"),
                ("name", 'name = "a/b"', r"name: 'a/b' must not contain"),
                ("options", 'options = {\n nonsense = "1"\n }', r"nonsense"),
                ("size", 'size = "900000TiB"', r"'bad' needs 878.9 PiB, but pool 'default' has only"),
                ("options", 'options = {\n uid = "me"\n }', r"uid.*'me'"),
                ("options", 'options = {\n mode = "worldwide"\n }', r"mode.*'worldwide'"),
                ("mount_options", 'mount_options = {\n exec_as = "me"\n }', r"exec_as"),
                ("pool", 'pool = "attic"', r"pool 'attic'"),
                ("fs", 'fs = "fat"', r"fs.*'fat'"),
        ):
            with self.subTest(line):
                text = volume("bad").replace('name        = "bad"', "" if field == "name" else 'name        = "bad"')
                text = re.sub(rf"\n\s*{field}\s*=.*", "", text) if field in ("size", "destination") else text
                text = text.replace("create ", line + "\n          create ")
                name = "bad-" + re.sub(r"[^a-z]", "", line)[:20]
                _, events, failed = self.exit_of(name, job(name, "true", type="batch", config=text))
                self.assertTrue(failed)
                self.assertTrue(any(re.search(words, e) for e in events), events)
                self.lab.stop_job(name)


    def test_job_is_placed_where_its_volume_is(self):
        self.lab.cleat("volume", "create", "there", "--size", "16MiB", "--scope", "default")
        key = "driver.cleat.volume.default."
        wait_for("the volume is told", lambda: self.lab.node()["Attributes"].get(key + "there") == "default")
        where = 'constraint {\n attribute = "${attr.%s}"\n value = "default"\n }'
        self.start("placed", job("placed", "sleep 1000", kill_timeout="1s", group=where % (key + "there"),
                                 config=volume("there").replace("create      = true", "create      = false")))
        self.lab.submit("elsewhere", job("elsewhere", "sleep 1000", group=where % (key + "nowhere")))
        wait_for("there is no node for a volume that is nowhere", lambda: any(
            "nowhere" in str(e.get("FailedTGAllocs")) for e in self.lab.api("job/elsewhere/evaluations")))
        self.assertEqual(self.lab.allocs("elsewhere"), [])

    def test_two_volumes_with_mount_options(self):
        more = 'mount_options = {\n noatime = ""\n }\n options = {\n mode = "0777"\n }'
        alloc = self.start("two", job("two", "sleep 1000", kill_timeout="1s", task='user = "nobody"',
                                      config=volume("left", more=more) + volume("right").replace('"/data"', '"/srv/deep/down"')))
        lines = self.lab.exec(alloc, "cat", "/proc/self/mountinfo").stdout.splitlines()
        mounts = {line.split(" ")[4]: line.split(" ")[5] for line in lines}
        self.assertIn("noatime", mounts["/data"].split(","))
        self.assertNotIn("noatime", mounts["/srv/deep/down"].split(","))
        for option in ("nosuid", "nodev"):
            self.assertIn(option, mounts["/data"].split(","))
        self.lab.exec(alloc, "touch", "/data/mine")
        self.assertIn("Permission denied", self.lab.exec(alloc, "touch", "/srv/deep/down/mine", check=False).stderr)
        self.assertEqual(len(self.lab.cleat_json("claim", "list")["claims"]), 2)


class Case3Kills(LabCase):
    """kill -9 of everything but the task, which does not notice."""

    def setUp(self):
        self.alloc = self.start("lives", job("lives", LISTENER, config=volume("lives"), kill_timeout="10s"))
        self.wait_output(self.alloc, "started")
        self.container = self.lab.tasks()[0]
        self.pid = self.task_pid()

    def task_pid(self):
        import json
        return json.loads(read(f"{self.lab.dir}/driver/tasks/{self.container}/started.json"))["pid"]

    def check_alive(self, what):
        """Everything that can be asked of a running task works."""
        self.lab.wait_healthy()
        self.assertTrue(alive(self.pid), f"the task ended: {what}")
        self.assertEqual(self.lab.tasks(), [self.container], f"the task was started anew: {what}")
        wait_for("alloc exec", lambda: self.lab.exec(self.alloc, "echo", "hello", check=False).stdout == "hello\n")
        self.assertEqual(self.lab.exec(self.alloc, "sh", "-c", "exit 5", check=False).returncode, 5)
        before = len(self.lab.exec(self.alloc, "cat", "/data/ticks").stdout.splitlines())
        wait_for("the task still writes to its volume",
                 lambda: len(self.lab.exec(self.alloc, "cat", "/data/ticks").stdout.splitlines()) > before)
        heard = self.output(self.alloc).count("got-hup")
        self.lab.nomad("alloc", "signal", "-s", "SIGHUP", self.alloc)
        wait_for(lambda: f"the signal arrives and the log goes on: {what}", lambda: self.output(self.alloc).count("got-hup") > heard)
        def stats():
            usage = self.lab.api(f"client/allocation/{self.alloc}/stats")["Tasks"].get("t")
            return usage and usage["ResourceUsage"]["MemoryStats"]["Usage"] > 0
        wait_for(lambda: f"stats: {what}", stats)

    def check_end(self):
        self.lab.nomad("job", "stop", "-detach", "lives")
        # An agent that was killed may be refused by its own server at first, and asks it again only after a minute.
        self.lab.wait_gone(self.alloc, limit=3 * WAIT_S)
        terminated = [e for e in self.lab.task_states(self.alloc)["t"]["Events"] if e["Type"] == "Terminated"]
        self.assertEqual([e["ExitCode"] for e in terminated], [7])

    def test_plugin(self):
        before = self.lab.plugin_pids()
        self.lab.kill("plugin")
        wait_for("a new plugin", lambda: self.lab.plugin_pids() and self.lab.plugin_pids() != before)
        self.check_alive("the plugin was killed")
        self.lab.kill("plugin")
        self.check_alive("the plugin was killed again")
        self.check_end()

    def test_agent(self):
        plugin = self.lab.plugin_pids()
        self.lab.kill("agent")
        self.assertEqual(self.lab.plugin_pids(), plugin, "the plugin survives its agent")
        self.lab.start_agent()
        self.check_alive("the agent was killed")
        self.assertEqual(self.lab.plugin_pids(), plugin, "the agent has found its plugin again")
        self.check_end()

    def test_daemon(self):
        self.lab.kill("daemon")
        self.assertTrue(alive(self.pid))
        self.lab.start_daemon()
        self.check_alive("the daemon was killed")
        self.check_end()

    def test_all_and_the_task_ends_meanwhile(self):
        self.lab.kill("agent")
        self.lab.kill("plugin")
        self.lab.kill("daemon")
        self.assertTrue(alive(self.pid))
        os.kill(self.pid, 15)
        wait_for("the task has ended", lambda: not alive(self.pid))
        self.lab.start_daemon()
        self.lab.start_agent()
        self.lab.wait_gone(self.alloc)
        terminated = [e for e in self.lab.task_states(self.alloc)["t"]["Events"] if e["Type"] == "Terminated"]
        self.assertEqual([e["ExitCode"] for e in terminated], [7])

    def test_all_at_once(self):
        self.lab.kill("agent")
        self.lab.kill("plugin")
        self.lab.kill("daemon")
        self.lab.start_daemon()
        self.lab.start_agent()
        self.check_alive("everything was killed")
        self.check_end()

    def test_conmon(self):
        """What watches the task is gone: the task goes on, and so does everything but its exit code."""
        watcher = int(read(f"{self.lab.dir}/driver/tasks/{self.container}/conmon.pid"))
        os.kill(watcher, 9)
        wait_for("conmon is gone", lambda: not alive(watcher))
        self.check_alive("conmon was killed")
        self.lab.kill("agent")
        self.lab.kill("plugin")
        self.lab.start_agent()
        self.check_alive("conmon, and then agent and plugin, were killed")
        self.lab.nomad("job", "stop", "-detach", "lives")
        self.lab.wait_gone(self.alloc)
        self.assertTrue(any("conmon, which watched the task, was killed" in e for e in self.lab.events(self.alloc)),
                        self.lab.events(self.alloc))

    def test_task_that_cannot_be_found_again(self):
        """Then the agent has it destroyed and started anew, in the same allocation: even a volume that goes with it keeps its data."""
        text = job("found", "sleep 1000", restarts=3, kill_timeout="1s", config=volume("found", more='lifetime = "allocation"'))
        alloc = self.start("found", text)
        self.lab.exec(alloc, "sh", "-c", "echo kept > /data/f && sync")
        old = [t for t in self.lab.tasks() if t != self.container]
        self.assertEqual(len(old), 1)
        self.lab.kill("agent")
        self.lab.kill("plugin")
        task = f"{self.lab.dir}/driver/tasks/{old[0]}"
        os.remove(f"{task}/started.json")
        self.lab.start_agent()
        wait_for("it is started anew", lambda: len(self.lab.tasks()) == 2 and old[0] not in self.lab.tasks())
        wait_for("it has its data", lambda: self.lab.exec(alloc, "cat", "/data/f", check=False).stdout == "kept\n")
        self.lab.stop_job("found")
        wait_for("it has ended", lambda: len(self.lab.tasks()) == 1)
        self.check_alive("another task was lost")

    def test_orderly_restart(self):
        self.lab.end("agent")
        wait_for("the plugin ends with its agent", lambda: not self.lab.plugin_pids())
        self.assertTrue(alive(self.pid))
        self.lab.start_agent()
        self.check_alive("the agent was restarted in good order")
        self.lab.end("daemon")
        self.lab.start_daemon()
        self.check_alive("the daemon was restarted in good order")
        self.check_end()

    def test_daemon_down_while_the_task_ends(self):
        """What could not be released is made up for."""
        self.lab.kill("daemon")
        self.lab.nomad("job", "stop", "-detach", "lives")
        self.lab.wait_gone(self.alloc)
        self.lab.start_daemon()
        wait_for("the claim is released", lambda: not self.lab.cleat_json("claim", "list").get("claims"))


class Case4Tasks(LabCase):
    """What tasks do and what can be done with them."""

    def events_of(self, script, **more):
        name = self._testMethodName.replace("_", "-")
        return self.exit_of(name, job(name, script, type="batch", **more))

    def test_exit_code(self):
        _, events, failed = self.events_of("exit 42")
        self.assertTrue(failed)
        self.assertTrue(any("Exit Code: 42" in e for e in events), events)

    def test_success(self):
        alloc, events, failed = self.events_of("echo out; echo err >&2")
        self.assertFalse(failed, events)
        self.assertEqual(self.output(alloc), "out\n")
        self.assertEqual(self.output(alloc, stderr=True), "err\n")

    def test_out_of_memory(self):
        _, events, failed = self.events_of("exec python3 -c \"x=bytearray(300<<20)\"", memory=24)
        self.assertTrue(failed)
        self.assertTrue(any("OOM Killed" in e for e in events), events)

    def test_bad_command(self):
        _, events, failed = self.events_of("", command="/no/such/program", args=[])
        self.assertTrue(failed)
        self.assertTrue(any("/no/such/program" in e for e in events), events)

    def test_ignores_its_kill_signal(self):
        alloc = self.start("stubborn", job("stubborn", "trap '' TERM INT; while :; do sleep 1; done", kill_timeout="2s"))
        began = time.monotonic()
        self.lab.nomad("job", "stop", "-detach", "stubborn")
        self.lab.wait_gone(alloc)
        self.assertGreaterEqual(time.monotonic() - began, 1.9)
        self.assertTrue(any("Exit Code: 137" in e for e in self.lab.events(alloc)), self.lab.events(alloc))

    def test_kill_signal(self):
        alloc = self.start("usr", job("usr", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done", kill_timeout="30s",
                                      task='kill_signal = "SIGUSR1"'))
        self.wait_output(alloc, "ready")
        self.lab.nomad("job", "stop", "-detach", "usr")
        self.lab.wait_gone(alloc)
        self.assertTrue(any("Exit Code: 9" in e for e in self.lab.events(alloc)), self.lab.events(alloc))

    def test_restart_policy(self):
        alloc, events, failed = self.events_of("echo once more; exit 1", restarts=2)
        self.assertTrue(failed)
        self.assertEqual(self.output(alloc).count("once more"), 3)

    def test_log_rotation(self):
        alloc = self.start("logs", job("logs", "yes 0123456789012345678901234567890123456789 | head -c 4000000; echo the-end; sleep 1000",
                                       kill_timeout="1s", logs="logs {\n max_files = 3\n max_file_size = 1\n }"))
        self.wait_output(alloc, "the-end")
        files = sorted(os.listdir(f"{self.lab.dir}/nomad/alloc/{alloc}/alloc/logs"))
        numbers = [int(f.rsplit(".", 1)[1]) for f in files if re.match(r"t\.stdout\.\d+$", f)]
        self.assertEqual(len(numbers), 3, files)
        self.assertGreaterEqual(max(numbers), 3)

    def test_logs_disabled(self):
        alloc, _, failed = self.events_of("echo unheard; echo seen > /alloc/data/seen", logs="logs {\n disabled = true\n max_files = 1\n max_file_size = 1\n }")
        self.assertFalse(failed)
        self.assertEqual(read(f"{self.lab.dir}/nomad/alloc/{alloc}/alloc/data/seen"), "seen\n")

    def test_environment_and_directories(self):
        alloc, _, failed = self.events_of(
            "env; echo a > /alloc/data/a; echo l > $NOMAD_TASK_DIR/l; echo s > /secrets/s; pwd; hostname; ulimit -n; cat /proc/self/status",
            task="env {\n GREETING = \"hello ${NOMAD_ALLOC_INDEX}\"\n LONG = \"" + "x" * 6000 + "\"\n }",
            config='work_dir = "/local"\n hostname = "somewhere"\n ulimit = {\n nofile = "200:300"\n }\n cap_drop = ["all"]')
        self.assertFalse(failed)
        out = self.output(alloc)
        self.assertIn("GREETING=hello 0\n", out)
        self.assertIn("LONG=" + "x" * 6000 + "\n", out)
        self.assertIn("NOMAD_ALLOC_DIR=/alloc\n", out)
        self.assertNotIn("CLEAT_SOCKET", out, "the agent's environment stays outside")
        self.assertIn("/local\nsomewhere\n200\n", out)
        self.assertRegex(out, r"CapEff:\s+0000000000000000")
        self.assertRegex(out, r"NoNewPrivs:\s+1")
        self.assertRegex(out, r"Seccomp:\s+2")
        self.assertEqual(read(f"{self.lab.dir}/nomad/alloc/{alloc}/t/local/l"), "l\n")

    def test_user(self):
        alloc, _, failed = self.events_of("id -un; id -u", task='user = "nobody"')
        self.assertFalse(failed)
        self.assertEqual(self.output(alloc), "nobody\n65534\n")

    def test_host_is_read_only_and_private(self):
        alloc, _, failed = self.events_of("touch /usr/x /etc/x 2>&1; touch /tmp/x && echo tmp; ls /proc | grep -c '^[0-9]*$'")
        self.assertFalse(failed)
        out = self.output(alloc)
        self.assertEqual(out.count("Read-only file system"), 2)
        self.assertIn("tmp\n", out)
        self.assertFalse(os.path.exists("/tmp/x"))
        self.assertLess(int(out.split()[-1]), 8, "processes of the host are not seen")

    def test_host_volume(self):
        shared = f"{self.lab.dir}/shared"
        subprocess.run(["mount", "--bind", shared, shared], check=True)
        self.addCleanup(subprocess.run, ["umount", shared], check=True)
        subprocess.run(["mount", "--make-shared", shared], check=True)
        with open(f"{self.lab.dir}/shared/hello", "w", encoding="utf-8") as f:
            f.write("from the host\n")
        alloc, _, failed = self.events_of("cat /srv/hello; touch /srv/x 2>&1; grep ' /srv ' /proc/self/mountinfo", group="""
    volume "shared" {
      type      = "host"
      source    = "shared"
    }""", task="""volume_mount {
        volume      = "shared"
        destination = "/srv"
        read_only   = true
        propagation_mode = "host-to-task"
      }""")
        self.assertFalse(failed, self.lab.events(alloc))
        out = self.output(alloc)
        self.assertIn("from the host\n", out)
        self.assertIn("Read-only", out)
        self.assertIn(" master:", out, "mounts of the host arrive in the task")

    def test_mounts_arrive_later(self):
        """Of a host volume: those of the host arrive in the task, and what the task mounts could arrive at the host, as the job says."""
        shared = f"{self.lab.dir}/shared"
        subprocess.run(["mount", "--bind", shared, shared], check=True)
        self.addCleanup(subprocess.run, ["umount", "--recursive", shared], check=True)
        subprocess.run(["mount", "--make-shared", shared], check=True)
        os.makedirs(f"{shared}/later", exist_ok=True)
        mount = 'volume_mount {\n volume = "shared"\n destination = "%s"\n propagation_mode = "%s"\n }\n'
        alloc = self.start("later", job("later", "sleep 1000", kill_timeout="1s", group="""
    volume "shared" {
      type      = "host"
      source    = "shared"
    }""", task=mount % ("/in", "host-to-task") + mount % ("/both", "bidirectional") + mount % ("/alone", "private")))
        subprocess.run(["mount", "-t", "tmpfs", "later", f"{shared}/later"], check=True)
        with open(f"{shared}/later/f", "w", encoding="utf-8") as f:
            f.write("came later\n")
        self.assertEqual(self.lab.exec(alloc, "cat", "/in/later/f").stdout, "came later\n")
        self.assertEqual(self.lab.exec(alloc, "cat", "/both/later/f").stdout, "came later\n")
        self.assertNotEqual(self.lab.exec(alloc, "cat", "/alone/later/f", check=False).returncode, 0)
        lines = self.lab.exec(alloc, "cat", "/proc/self/mountinfo").stdout.splitlines()
        kinds = {line.split(" ")[4]: line.split(" - ")[0].split(" ")[6:] for line in lines}
        self.assertTrue(any(k.startswith("shared:") for k in kinds["/both"]), kinds)
        self.assertFalse(any(k.startswith("shared:") for k in kinds["/in"]), kinds)
        self.assertEqual(kinds["/alone"], [])
        subprocess.run(["umount", f"{shared}/later"], check=True)
        wait_for("that a mount is gone arrives too", lambda: self.lab.exec(alloc, "cat", "/in/later/f", check=False).returncode != 0)

    def limit(self, alloc, v1, v2):
        """A limit of the task's cgroup."""
        for top, folders, _ in os.walk("/sys/fs/cgroup"):
            for name in (v1, v2):
                if alloc in top and not folders and os.path.exists(f"{top}/{name}"):
                    return read(f"{top}/{name}").strip()
        return None

    def test_memory_max(self):
        self.lab.nomad("operator", "scheduler", "set-config", "-memory-oversubscription=true")
        alloc = self.start("elastic", job("elastic", "sleep 1000", kill_timeout="1s", memory="24\n memory_max = 96"))
        self.assertEqual(self.limit(alloc, "memory.limit_in_bytes", "memory.max"), str(96 << 20))
        self.assertEqual(self.limit(alloc, "memory.soft_limit_in_bytes", "memory.low"), str(24 << 20))
        self.lab.exec(alloc, "python3", "-c", "x = bytearray(60 << 20)")

    def test_cores(self):
        alloc = self.start("cores", job("cores", "sleep 1000", kill_timeout="1s").replace("cpu    = 20", "cores  = 1"))
        self.assertEqual(self.lab.exec(alloc, "nproc").stdout, "1\n")
        cores = self.lab.api(f"allocation/{alloc}")["AllocatedResources"]["Tasks"]["t"]["Cpu"]["ReservedCores"]
        self.assertEqual(self.lab.exec(alloc, "sh", "-c", "grep Cpus_allowed_list /proc/self/status").stdout.split()[1],
                         ",".join(str(c) for c in cores))

    def test_tasks_of_a_group(self):
        """One goes before the other, with what it leaves in /alloc and on their volume."""
        first = """
    task "first" {
      driver = "cleat"
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "echo one > /alloc/data/f; echo two > /data/f"]
        %s
      }
      logs {
        max_files     = 1
        max_file_size = 1
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }""" % volume("steps")
        alloc, events, failed = self.events_of("cat /alloc/data/f /data/f", group=first, config=volume("steps"))
        self.assertFalse(failed, events)
        self.assertEqual(self.lab.nomad("alloc", "logs", "-task", "t", alloc).stdout, "one\ntwo\n")

    def test_whoever_reads_the_output_is_killed(self):
        """The agent's log program dies: the task does not notice, and what it says is read again after a restart of the agent."""
        alloc = self.start("unheard", job("unheard", LISTENER, kill_timeout="5s"))
        self.wait_output(alloc, "started")
        readers = self.lab.helper_pids()
        self.assertTrue(readers)
        self.lab.kill("agent")
        for pid in readers:
            os.kill(pid, 9)
        self.lab.start_agent()
        wait_for("the log goes on", lambda: self.lab.nomad("alloc", "signal", "-s", "SIGHUP", alloc, check=False).returncode == 0 and
                 "got-hup" in self.output(alloc), every=0.5)

    def test_network_host(self):
        alloc, _, failed = self.events_of("cat /proc/net/dev", group='network {\n mode = "host"\n }')
        self.assertFalse(failed)
        self.assertEqual(self.output(alloc).count(":"), read("/proc/net/dev").count(":"))

    def test_unknown_capability(self):
        _, events, failed = self.events_of("true", config='cap_add = ["fly"]')
        self.assertTrue(failed)
        self.assertTrue(any("cap_add: 'fly'" in e for e in events), events)

    def test_capability_beyond_the_plugin(self):
        _, events, failed = self.events_of("true", config='cap_add = ["sys_admin"]')
        self.assertTrue(failed)
        self.assertTrue(any("allow_caps" in e for e in events), events)

    # ---- alloc exec ----

    def test_exec_without_terminal(self):
        alloc = self.start("exec", job("exec", "sleep 1000", kill_timeout="1s"))
        done = self.lab.exec(alloc, "sh", "-c", "cat; echo err >&2; exit 3", check=False, flags=("-i=true", "-t=false"), input="typed\n")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("typed\n", "err\n", 3))
        big = "0123456789abcdef" * 65536 * 4
        done = self.lab.exec(alloc, "sh", "-c", "sleep 0.5; wc -c", flags=("-i=true", "-t=false"), input=big)
        self.assertEqual(int(done.stdout), len(big), "input that the command is slow to read")
        done = self.lab.exec(alloc, "head", "-c", "5000000", "/dev/zero")
        self.assertEqual(len(done.stdout), 5000000)
        done = self.lab.exec(alloc, "/no/such", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/no/such", done.stdout + done.stderr)

    def test_exec_with_terminal(self):
        alloc = self.start("tty", job("tty", "sleep 1000", kill_timeout="1s"))
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        import fcntl
        import struct
        import termios
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        shell = subprocess.Popen([NOMAD, "alloc", "exec", "-t", "-i", alloc, "/bin/sh"], stdin=slave, stdout=slave, stderr=slave,
                                 env=self.lab.env, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        seen = b""

        def expect(text):
            nonlocal seen
            deadline = time.monotonic() + WAIT_S
            while text not in seen:
                self.assertLess(time.monotonic(), deadline, seen)
                if select.select([master], [], [], 1)[0]:
                    seen += os.read(master, 4096)
            seen = seen[seen.index(text) + len(text):]

        # Each line is typed when the shell has asked for it: what is typed earlier is echoed at another place.
        expect(b"# ")
        os.write(master, b"stty size; tty\n")
        expect(b"33 99\r\n/dev/pts/")
        expect(b"# ")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
        os.write(master, b"while [ \"$(stty size)\" != '44 111' ]; do sleep 0.1; done; echo re''sized\n")
        expect(b"resized\r\n# ")
        os.write(master, b"cat\n")
        expect(b"cat\r\n")
        os.write(master, b"round trip\n")
        expect(b"round trip\r\nround trip\r\n")
        os.write(master, b"\x03")
        expect(b"# ")
        os.write(master, b"exit 6\n")
        self.assertEqual(shell.wait(WAIT_S), 6)


class Case4Settings(LabCase):
    """What the plugin's configuration permits."""
    plugin = """dynamic_users    = true
    allow_rootfs     = ["/tmp/"]
    allow_caps       = ["all"]
    allow_unconfined = true
    pids_limit       = 50"""

    def make_root(self):
        """A root of its own for tasks: a shell and what that needs."""
        root = f"{self.lab.dir}/root"
        os.makedirs(f"{root}/etc", exist_ok=True)
        for program in ("/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/id"):
            needs = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
            for path in [program, *re.findall(r"(/\S+) \(0x", needs)]:
                os.makedirs(os.path.dirname(root + path), exist_ok=True)
                shutil.copy(os.path.realpath(path), root + path)
        with open(f"{root}/etc/passwd", "w", encoding="utf-8") as f:
            f.write("inside:x:4711:4712::/:/bin/sh\n")
        return root

    def test_root_of_its_own(self):
        config = f'rootfs = "{self.make_root()}"\n' + volume("rooted", more='options = {\n uid = "4711"\n }')
        alloc, events, failed = self.exit_of("rooted", job("rooted", "id -u; id -g; ls /; echo x > /data/f && cat /data/f", type="batch",
                                                           task='user = "inside"', config=config))
        self.assertFalse(failed, events)
        out = self.output(alloc).split()
        self.assertEqual(out[:2], ["4711", "4712"])
        self.assertEqual(out[-1], "x")
        self.assertIn("secrets", out)
        self.assertNotIn("usr/share", out)
        self.assertFalse(os.path.exists(f"{self.lab.dir}/root/data/f"))

    def test_root_elsewhere_is_refused(self):
        _, events, failed = self.exit_of("elsewhere", job("elsewhere", "true", type="batch", config='rootfs = "/usr"'))
        self.assertTrue(failed)
        self.assertTrue(any("rootfs: '/usr'" in e and "allow_rootfs" in e for e in events), events)

    def test_rights(self):
        alloc, events, failed = self.exit_of("rights", job(
            "rights", "grep -e CapEff -e Seccomp: /proc/self/status", type="batch", task='user = "root"',
            config='cap_add = ["sys_admin"]\n cap_drop = ["all"]\n seccomp = "unconfined"'))
        self.assertFalse(failed, events)
        self.assertRegex(self.output(alloc), r"CapEff:\s+0000000000200000\nSeccomp:\s+0\n")

    def test_number_of_processes(self):
        alloc, _, _ = self.exit_of("many", job("many", "for i in $(seq 100); do sleep 5 & done; echo no-end", type="batch"))
        self.assertNotIn("no-end", self.output(alloc))
        self.assertRegex(self.output(alloc, stderr=True), "[Cc]annot fork")

    def test_dynamic_user(self):
        alloc, _, failed = self.exit_of("dynamic", job("dynamic", "id -u; cat /proc/self/status; touch /local/mine && ls -ln /local", type="batch"))
        self.assertFalse(failed, self.lab.events(alloc))
        self.assertGreaterEqual(int(self.output(alloc).split()[0]), 80000)


class Case4Networks(LabCase):
    """Network namespaces that the agent makes.  It sets up bridges and packet filters, so this runs in a network of its own (run.sh).

    Mode "none" is in harness_test.go: the agent of 1.11.1 starts no allocation with it, whatever the driver.
    """

    @classmethod
    def setUpClass(cls):
        if "up0" not in [name for _, name in socket.if_nameindex()]:
            raise unittest.SkipTest("this would set up bridges and packet filters on the machine; run.sh makes a network for it")
        cls.plugins = tempfile.mkdtemp(prefix="cleat-cni-")
        cls.addClassCleanup(shutil.rmtree, cls.plugins)
        for name in ("bridge", "firewall", "host-local", "loopback", "portmap"):
            # Debian's do not know their own version, which agents ask for.
            with open(f"{cls.plugins}/{name}", "w", encoding="utf-8") as f:
                f.write(f'#!/bin/sh\n[ -n "$CNI_COMMAND" ] || {{ echo "CNI {name} plugin v1.1.1"; exit; }}\nexec /usr/lib/cni/{name} "$@"\n')
            os.chmod(f"{cls.plugins}/{name}", 0o755)
        cls.client = f'cni_path = "{cls.plugins}"\n  network_interface = "up0"'
        super().setUpClass()

    @staticmethod
    def interfaces(text):
        return sorted(re.findall(r"^ *(\S+):", text, re.M))

    def test_bridge(self):
        """A server in the task's network, with its data on a volume; it survives plugin and agent."""
        alloc = self.start("bridge", job(
            "bridge", "echo hello > /data/index.html; cd /data; exec python3 -m http.server 8000", kill_timeout="1s",
            config='hostname = "bridged"\n' + volume("bridge"), memory=64,
            group='network {\n mode = "bridge"\n port "web" {\n to = 8000\n }\n dns {\n servers = ["10.1.2.3"]\n }\n }'))
        self.assertIn("eth0", self.interfaces(self.lab.exec(alloc, "cat", "/proc/net/dev").stdout))
        address = self.lab.api(f"allocation/{alloc}")["NetworkStatus"]["Address"]

        def page():
            try:
                with urllib.request.urlopen(f"http://{address}:8000/index.html", timeout=5) as answer:
                    return answer.read()
            except OSError:
                return None
        wait_for("the server answers", lambda: page() == b"hello\n")
        seen = self.lab.exec(alloc, "cat", "/etc/resolv.conf", "/proc/sys/kernel/hostname").stdout
        self.assertIn("nameserver 10.1.2.3\n", seen)
        self.assertIn("bridged\n", seen)
        self.assertIn("NOMAD_PORT_web", self.lab.exec(alloc, "env").stdout)
        # An agent that is killed forgets networks younger than a minute, and then ends their tasks itself.
        self.lab.kill("plugin")
        self.lab.end("agent")
        self.lab.start_agent()
        self.lab.wait_healthy()
        self.assertEqual(page(), b"hello\n")
        wait_for("alloc exec is in the same network", lambda: "eth0" in self.lab.exec(alloc, "cat", "/proc/net/dev", check=False).stdout)
        self.lab.stop_job("bridge")
        self.lab.wait_no_tasks()
        wait_for("the namespace is gone", lambda: not os.path.exists(f"/run/netns/{alloc}"))


class Case5Fifty(LabCase):
    """Fifty at a time leave nothing."""

    def test_fifty(self):
        loops_before = self.lab.loops()
        text = job("fifty", "echo up; exec sleep 1000", count=50, memory=16, kill_timeout="5s",
                   config=volume("v-${NOMAD_ALLOC_INDEX}", "16MiB"))
        for round in range(2):
            with self.subTest(round=round):
                self.lab.submit("fifty", text)
                running = lambda: [a for a in self.lab.allocs("fifty") if a["ClientStatus"] == "running"]
                wait_for(lambda: f"fifty are running: {len(running())} {self.lab.describe('fifty')[-2:]}", lambda: len(running()) == 50, limit=300)
                self.assertEqual(len(self.lab.tasks()), 50)
                allocs = [a["ID"] for a in running()]
                print(self.memory(), file=sys.stderr)
                self.lab.nomad("job", "stop", "-detach", "fifty")
                self.lab.wait_no_tasks()
                wait_for(lambda: f"nothing is left over: {self.lab.left_over()}", lambda: not self.lab.left_over())
                wait_for(lambda: f"loop devices: {self.lab.loops()}", lambda: self.lab.loops() == loops_before)
                wait_for(lambda: f"cgroups: {self.cgroups(allocs)}", lambda: not self.cgroups(allocs))
                self.lab.stop_job("fifty")
                self.lab.nomad("system", "gc")
                wait_for(lambda: f"FIFOs: {[f for a in allocs for f in self.fifos(a)]}",
                         lambda: not any(self.fifos(a) for a in allocs))

    def memory(self):
        rollup = read(f"/proc/{self.lab.plugin_pids()[0]}/smaps_rollup")
        private = sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", rollup, re.M))
        return f"the plugin's private memory with fifty tasks: {private / 1024:.1f} MiB"

    @staticmethod
    def cgroups(allocs):
        found = []
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            found += [os.path.join(folder, n) for n in names if any(a in n for a in allocs)]
        return found

    def fifos(self, alloc):
        folder = f"{self.lab.dir}/nomad/alloc/{alloc}/alloc/logs"
        return [f for f in os.listdir(folder) if f.endswith(".fifo")] if os.path.isdir(folder) else []


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    BUILD, NOMAD = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    cases.main([sys.argv[0], *sys.argv[3:]])
