"""A private Nomad agent and a private cleatd on loopback, for tests: started, killed, started again, asked by the real command line.

Nothing here sleeps and hopes: every wait is for something that is looked at, with a limit.  What a lab leaves behind is a failure.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

WAIT_S = 90  # longest wait for anything; the machine may be busy


def wait_for(what, look, limit=WAIT_S, every=0.1):
    """Calls look() until it returns something true, and returns that."""
    deadline = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit} s in vain: {what() if callable(what) else what}")
        time.sleep(every)


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def alive(pid):
    """Runs, and is no zombie that nobody has waited for."""
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


AGENT = """
data_dir   = "{dir}/nomad"
plugin_dir = "{dir}/plugins"
bind_addr  = "127.0.0.1"
log_level  = "DEBUG"
advertise {{
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}}
ports {{
  http = {http}
  rpc  = {rpc}
  serf = {serf}
}}
telemetry {{
  publish_allocation_metrics = true
}}
server {{
  enabled          = true
  bootstrap_expect = 1
  heartbeat_grace  = "5m"
}}
client {{
  enabled = true
  gc_interval = "5s"
  options = {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,cni,vault,consul"
    "driver.allowlist"     = "cleat,raw_exec,exec"
    "driver.raw_exec.enable" = "1"
  }}
  host_volume "shared" {{
    path = "{dir}/shared"
  }}
  {client}
}}
plugin "nomad-driver-cleat" {{
  config {{
    socket    = "{dir}/run/cleat.sock"
    state_dir = "{dir}/driver"
    helper    = "{build}/bin/cleat-run-helper"
    {plugin}
  }}
}}
"""


class Lab:
    def __init__(self, build, nomad, plugin="", client=""):
        """plugin and client: more lines for these blocks of the agent's configuration."""
        self.build, self.program = build, nomad
        self.dir = tempfile.mkdtemp(prefix="cleat-nomad-")
        self.http, self.rpc, self.serf = free_ports(3)
        self.agent = self.daemon = None
        for name in ("plugins", "state", "run", "shared", "jobs"):
            os.mkdir(f"{self.dir}/{name}")
        shutil.copy2(f"{build}/bin/nomad-driver-cleat", f"{self.dir}/plugins/")
        with open(f"{self.dir}/agent.hcl", "w", encoding="utf-8") as f:
            f.write(AGENT.format(dir=self.dir, http=self.http, rpc=self.rpc, serf=self.serf, build=build, plugin=plugin, client=client))
        self.env = dict(os.environ, NOMAD_ADDR=f"http://127.0.0.1:{self.http}", CLEAT_SOCKET=f"{self.dir}/run/cleat.sock")

    # ---- processes ----

    def _spawn(self, name, argv):
        log = open(f"{self.dir}/{name}.log", "ab")
        with log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, start_new_session=True)

    def start_daemon(self):
        self.daemon = self._spawn("cleatd", [f"{self.build}/bin/cleatd", "--state-dir", f"{self.dir}/state", "--runtime-dir",
                                             f"{self.dir}/run"])
        wait_for("cleatd answers", lambda: self.cleat("version", check=False).returncode == 0)

    def start_agent(self):
        """Starts the agent and waits until its node is ready."""
        self.agent = self._spawn("agent", [self.program, "agent", "-config", f"{self.dir}/agent.hcl"])
        wait_for(lambda: "the node is ready; the agent's log ends with: " + read(f"{self.dir}/agent.log")[-2000:], self._node_ready)

    def _node_ready(self):
        if self.agent.poll() is not None:
            raise AssertionError("the agent has ended: " + read(f"{self.dir}/agent.log")[-3000:])
        try:
            nodes = self.api("nodes")
        except OSError:
            return False
        return len(nodes) == 1 and nodes[0]["Status"] == "ready"

    def plugin_pids(self):
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe").split(" ")[0] == f"{self.dir}/plugins/nomad-driver-cleat" and alive(pid):
                    pids.append(int(pid))
            except OSError:
                pass
        return pids

    def helper_pids(self):
        """What the agent has started of itself (logmon): it outlives an agent that is killed."""
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = read(f"/proc/{pid}/cmdline").split("\0")
                if line[0] == self.program and "logmon" in line and self.dir in read(f"/proc/{pid}/environ") and alive(pid):
                    pids.append(int(pid))
            except OSError:
                pass
        return pids

    def kill(self, what):
        """kill -9 of the agent, the daemon or the plugin, and waits for its end."""
        if what == "plugin":
            pids = self.plugin_pids()
            assert len(pids) == 1, pids
            os.kill(pids[0], signal.SIGKILL)
            wait_for("the plugin is gone", lambda: pids[0] not in self.plugin_pids())
            return
        process = getattr(self, what)
        process.kill()
        process.wait(WAIT_S)
        setattr(self, what, None)

    def end(self, what):
        """The orderly end."""
        process = getattr(self, what)
        if process:
            process.terminate()
            assert process.wait(WAIT_S) is not None
            setattr(self, what, None)

    # ---- asking ----

    def api(self, path, method="GET", body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/v1/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def _run(self, argv, check, **more):
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, errors="replace", timeout=WAIT_S, **more)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def nomad(self, *args, check=True, **more):
        return self._run([self.program, *args], check, **more)

    def cleat(self, *args, check=True):
        return self._run([f"{self.build}/bin/cleat", *args], check)

    def cleat_json(self, *args):
        return json.loads(self.cleat("--json", *args).stdout)

    def node(self):
        return self.api("node/" + self.api("nodes")[0]["ID"])

    def driver(self):
        return self.node()["Drivers"].get("cleat") or {}

    def wait_healthy(self, healthy=True):
        wait_for(lambda: f"the driver's health is {healthy}: {self.driver()}", lambda: self.driver().get("Healthy") == healthy)

    # ---- jobs ----

    def submit(self, name, text):
        path = f"{self.dir}/jobs/{name}.nomad.hcl"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.nomad("job", "run", "-detach", path)

    def allocs(self, job):
        return sorted(self.api(f"job/{job}/allocations"), key=lambda a: a["CreateIndex"])

    def wait_alloc(self, job, status, other_than=(), limit=WAIT_S):
        """The newest allocation of the job that is in this state."""
        def look():
            for a in reversed(self.allocs(job)):
                if a["ClientStatus"] == status and a["ID"] not in other_than:
                    return a
            return None
        return wait_for(lambda: f"an allocation of {job} is {status}: {self.describe(job)}", look, limit)

    def describe(self, job):
        return [(a["ID"][:8], a["ClientStatus"], self.events(a["ID"])[-4:]) for a in self.allocs(job)]

    def task_states(self, alloc):
        return self.api(f"allocation/{alloc}").get("TaskStates") or {}

    def events(self, alloc):
        return [e["DisplayMessage"] for state in self.task_states(alloc).values() for e in state["Events"]]

    def wait_event(self, alloc, pattern, limit=WAIT_S):
        return wait_for(lambda: f"an event like '{pattern}': {self.events(alloc)}",
                        lambda: [e for e in self.events(alloc) if re.search(pattern, e)], limit)

    def exec(self, alloc, *command, check=True, flags=("-i=false", "-t=false"), **more):
        return self.nomad("alloc", "exec", *flags, alloc, *command, check=check, **more)

    def stop_job(self, job):
        self.nomad("job", "stop", "-detach", "-purge", job, check=False)

    def wait_gone(self, alloc, limit=WAIT_S):
        wait_for(lambda: f"allocation {alloc} ends: {self.events(alloc)}",
                 lambda: self.api(f"allocation/{alloc}")["ClientStatus"] in ("complete", "failed", "lost"), limit)

    def tasks(self):
        """Names of the containers that the driver has."""
        try:
            return sorted(n for n in os.listdir(f"{self.dir}/driver/tasks") if not n.startswith("."))
        except FileNotFoundError:
            return []

    def wait_no_tasks(self):
        wait_for(lambda: f"no task is left: {self.tasks()} {os.listdir(self.dir + '/driver/records')}",
                 lambda: not self.tasks() and not os.listdir(f"{self.dir}/driver/records"))

    # ---- the end ----

    def left_over(self):
        """Everything of this lab that outlived its tasks, as lines for people."""
        left = []
        mounts = [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()]
        left += [f"mount {m}" for m in mounts if m.startswith(f"{self.dir}/driver/")]
        left += [f"mount {m}" for m in mounts if m.startswith(f"{self.dir}/run/mnt/stage/")]
        for folder in ("tasks", "records", "mounts"):
            path = f"{self.dir}/driver/{folder}"
            left += [f"{folder}/{n}" for n in os.listdir(path) if not n.startswith(".")]
        left += [f"claim {c['target']}" for c in self.cleat_json("claim", "list").get("claims", [])]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = read(f"/proc/{pid}/cmdline")
            except OSError:
                continue
            if f"{self.dir}/driver/" in line and alive(pid):
                left.append(f"process {pid}: {line[:100]}")
        return left

    def loops(self):
        out = subprocess.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"], capture_output=True, text=True, check=True)
        return [line for line in out.stdout.splitlines() if self.dir in line or self.pool_file() in line]

    def pool_file(self):
        return f"{self.dir}/state"

    def close(self):
        """Ends everything, by force where needed, and removes the directory."""
        if self.agent:
            try:
                for job in self.api("jobs"):
                    self.stop_job(job["ID"])
                wait_for("all tasks are gone", lambda: not self.tasks(), limit=30)
            except (AssertionError, OSError, subprocess.SubprocessError):
                pass
            self.end("agent")
        for pid in self.plugin_pids() + self.helper_pids():
            os.kill(pid, signal.SIGKILL)
        self._remove_containers()
        self.end("daemon")
        self._unmount()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _remove_containers(self):
        for name in self.tasks():
            subprocess.run(["crun", "--root", f"{self.dir}/driver/tasks/.crun", "delete", "--force", name], capture_output=True, check=False)

    def _unmount(self):
        for _ in range(5):
            mounts = [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()]
            mine = [m for m in mounts if m.startswith(self.dir + "/")]
            for m in sorted(mine, key=len, reverse=True):
                subprocess.run(["umount", m], capture_output=True, check=False)
            if not mine:
                return
