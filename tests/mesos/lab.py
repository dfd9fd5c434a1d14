"""A cleatd of its own and an agent that we play (agent.cpp), for the cases in mesos_test.py.

Nothing here sleeps and hopes: every wait is for something that is looked at or said, with a limit.
"""
import ctypes
import glob
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

WAIT_S = 60  # longest wait for anything; the machine may be busy
PR_SET_CHILD_SUBREAPER = 36


def wait_for(what, look, limit=WAIT_S, every=0.05):
    """Calls look() until it returns something true, and returns that."""
    deadline = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit} s in vain: {what() if callable(what) else what}")
        time.sleep(every)


def become_subreaper():
    """Containers whose agent was killed become children of this process, which can wait for them."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def mounts():
    """(mount point, ...) of this namespace."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line.split()[4] for line in f]


class Agent:
    """One process of agent.cpp.  An answer is waited for by its tag."""

    def __init__(self, lab, params=()):
        self.lab, self.tags, self.answers = lab, 0, {}
        self.process = subprocess.Popen([lab.agent_program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=lab.log, text=True,
                                        env=dict(os.environ, AGENT_VERSION=lab.version), bufsize=1)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.ask("load", lab.module, f"helper={lab.build}/bin/cleat-mesos", f"enter={lab.enter}", f"socket={lab.socket}",
                 f"root={lab.root}", f"config={lab.dir}/drivers.conf", "timeout=30", *params)

    def _read(self):
        for line in self.process.stdout:
            tag, _, text = line.rstrip("\n").partition(" ")
            self.answers.setdefault(tag, queue.Queue()).put(text)
        self.process.stdout.close()
        for said in list(self.answers.values()):
            said.put("error the agent has ended")

    def send(self, *words):
        """Sends a command and returns its tag."""
        self.tags += 1
        tag = f"t{self.tags}"
        self.answers.setdefault(tag, queue.Queue())
        try:
            self.process.stdin.write("\t".join((tag, *words)) + "\n")
        except BrokenPipeError:
            raise AssertionError(f"the agent has ended; {self.lab.tail()}") from None
        return tag

    def answer(self, tag, limit=WAIT_S):
        try:
            return self.answers[tag].get(timeout=limit)
        except queue.Empty:
            raise AssertionError(f"no answer to {tag} in {limit} s; {self.lab.tail()}") from None

    def ask(self, *words):
        """Its answer, which must be ok."""
        said = self.answer(self.send(*words))
        if not said.startswith("ok"):
            raise AssertionError(f"{words}: {said}; {self.lab.tail()}")
        return said

    def refused(self, *words):
        """The text of its answer, which must be an error."""
        said = self.answer(self.send(*words))
        if not said.startswith("error "):
            raise AssertionError(f"{words}: not refused: {said}")
        return said[6:]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()

    def stop(self):
        """Lets the module go, as an agent that ends in good order."""
        if self.process.poll() is None:
            self.ask("delete")
            self.process.stdin.close()
            self.process.wait()
            self.reader.join()


class Container:
    """A container that runs COMMAND, which may wait for release()."""

    def __init__(self, agent, name, command):
        self.lab = agent.lab
        self.output = f"{self.lab.dir}/out-{name.replace('/', '_')}-{agent.tags}"
        self.gate = self.output + ".gate"
        os.mkfifo(self.gate, 0o666)
        os.chmod(self.gate, 0o666)
        self.agent, self.tag = agent, agent.send("launch", name, self.output, command.replace("GATE", f"read _ < {self.gate}"))
        said = agent.answer(self.tag)
        if not said.startswith("ok "):
            raise AssertionError(f"launch {name}: {said}")
        self.pid = int(said.split()[1])

    def text(self):
        with open(self.output, encoding="utf-8", errors="replace") as f:
            return f.read()

    def says(self, line):
        """Waits for a line of its output."""
        wait_for(f"'{line}' from the container", lambda: os.path.exists(self.output) and (line in self.text().split("\n") or self.ended()))
        if line not in self.text().split("\n"):
            raise AssertionError(f"the container ended without '{line}': {self.text()}")

    def ended(self):
        return not os.path.exists(f"/proc/{self.pid}") or self.state() == "Z"

    def state(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
                return f.read().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return "Z"

    def release(self):
        with open(self.gate, "w", encoding="utf-8") as f:
            f.write("go\n")

    def end(self):
        """Its exit code, as the agent that launched it says."""
        return int(self.agent.answer(self.tag).split()[1])

    def end_orphaned(self):
        """The same when that agent is gone."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Lab:
    def __init__(self, build, tests, case):
        """case: "MODULE AGENT", as in cases.txt."""
        module, agent = case.split()[:2]
        self.build, self.version = build, module.split("-")[-1]
        self.module = f"{tests}/lib/{module}/libcleat_mesos-{self.version}.so"
        self.agent_program = f"{tests}/bin/{agent}"
        self.enter = f"{tests}/bin/cleat-mesos-enter"
        self.number = tuple(int(part) for part in self.version.split(".")[:2])
        self.dir = tempfile.mkdtemp(prefix="cleat-mesos-")
        os.chmod(self.dir, 0o755)
        self.root, self.socket = f"{self.dir}/root", f"{self.dir}/run/cleat.sock"
        self.log_path = f"{self.dir}/agent.log"
        self.log = open(self.log_path, "ab")
        self.daemon, self.sandboxes = None, 0
        os.mkdir(f"{self.dir}/run")
        with open(f"{self.dir}/drivers.conf", "w", encoding="ascii") as f:
            f.write("drivers:\n  rexray:\n    size: 16MiB\n    host_path: %s/host/%%n\n" % self.dir)
        os.mkdir(f"{self.dir}/host")

    def tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return "the log ends with: " + f.read()[-1500:]

    # ---- the daemon ----

    def start_daemon(self, fault=""):
        """Starts it and waits until it says that it serves."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = f"{self.dir}/notify.sock"
            if os.path.exists(path):
                os.unlink(path)
            notify.bind(path)
            notify.settimeout(WAIT_S)
            with open(f"{self.dir}/cleatd.conf", "w", encoding="ascii") as f:
                f.write("pools: {default: {backend: loop%s}}\n" % (", layer: fault" if fault else ""))
            self.daemon = subprocess.Popen([f"{self.build}/bin/cleatd", "--any-namespace", "--state-dir", f"{self.dir}/state",
                                            "--config", f"{self.dir}/cleatd.conf", "--runtime-dir", f"{self.dir}/run"], stdin=subprocess.DEVNULL, stdout=self.log,
                                           stderr=self.log, env=dict(os.environ, NOTIFY_SOCKET=path, CLEAT_FAULT=fault))
            while b"READY=1" not in notify.recv(4096):
                pass
        wait_for("the pool is online", lambda: all(pool.get("online") for pool in self.cleat("pool", "list")["pools"]))

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()
        self.daemon = None

    def cleat(self, *words):
        done = subprocess.run([f"{self.build}/bin/cleat", "--socket", self.socket, "--json", *words], capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"cleat {words}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def claim_list(self):
        return self.cleat("claim", "list").get("claims", [])

    def claims(self):
        """Targets of all claims."""
        return sorted(claim["target"] for claim in self.claim_list())

    def volume_names(self):
        return sorted(v["name"] for v in self.cleat("volume", "list").get("volumes", []))

    def running(self):
        """What the daemon works on."""
        return self.cleat("operation", "list").get("operations", [])

    # ---- what an agent makes for a container ----

    def sandbox(self, outer=None, name=None):
        """A new sandbox; a nested container's is in its outer container's."""
        self.sandboxes += 1
        path = f"{outer}/containers/{name}" if outer else f"{self.dir}/sandbox-{self.sandboxes}"
        os.makedirs(path)
        return path

    def image(self):
        """A root file system; its programs are bound into it by the agent."""
        path = f"{self.dir}/image"
        for folder in ("usr", "mnt/mesos/sandbox", "etc", "tmp", "dev"):
            os.makedirs(f"{path}/{folder}")
        for name in ("bin", "lib", "lib64"):
            os.symlink(f"usr/{name}", f"{path}/{name}")
        return path

    # ---- leaving nothing ----

    def holds_nothing(self):
        """Waits until no container holds anything, and nothing is left where they did."""
        wait_for(lambda: f"no claims: {self.claims()}", lambda: not self.claims())
        wait_for(lambda: f"no folders: {os.listdir(self.root)}", lambda: not os.path.exists(self.root) or not os.listdir(self.root))
        left = [m for m in mounts() if m.startswith(self.root)]
        if left:
            raise AssertionError(f"mounts are left: {left}")

    def abandon(self):
        """After a failure: whatever is still there is taken away, and nothing is claimed about it."""
        if self.daemon:
            self.kill_daemon()
        self.log.close()
        for path in reversed([m for m in mounts() if m.startswith(self.dir)]):
            subprocess.run(["umount", "--lazy", path], check=False)
        for device in glob.glob("/sys/block/loop*"):
            if self._backing(device).startswith(self.dir):
                subprocess.run(["losetup", "-d", f"/dev/{os.path.basename(device)}"], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    @staticmethod
    def _backing(device):
        try:
            with open(f"{device}/loop/backing_file", encoding="utf-8") as f:
                return f.read()
        except OSError:
            return ""

    def close(self):
        if self.daemon:
            for volume in self.cleat("volume", "list").get("volumes", []):
                wait_for(f"volume {volume['name']} is deleted", lambda v=volume: subprocess.run(
                    [f"{self.build}/bin/cleat", "--socket", self.socket, "volume", "delete", v["id"]], capture_output=True).returncode == 0)
            self.daemon.send_signal(signal.SIGTERM)
            if self.daemon.wait(WAIT_S):
                raise AssertionError(f"cleatd: exit {self.daemon.returncode}; {self.tail()}")
            self.daemon = None
        self.log.close()
        left = [m for m in reversed(mounts()) if m.startswith(self.dir)]
        for path in left:
            subprocess.run(["umount", path], check=False)
        if left and left != [f"{self.dir}/run/mounts"]:
            raise AssertionError(f"mounts are left: {left}")
        shutil.rmtree(self.dir)
