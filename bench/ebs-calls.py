#!/usr/bin/env python3
"""ebs-calls: how many calls to EC2 each operation takes, counted by the simulated far side of the tests (tests/sim/ec2.py).

    bench/ebs-calls.py CLEATD CLEAT [VOLUMES]      1,000 volumes for the list without a number

Needs root.  Calls are counted, not time: the simulator answers at once, and the real EC2 does not.
"""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NODE = "i-00000000000000001"


class Lab:
    def __init__(self, cleatd, cleat):
        self.cleatd, self.cleat, self.daemon = cleatd, cleat, None
        self.dir = tempfile.mkdtemp(prefix="cleat-ebs-calls-")
        self.sim = subprocess.Popen([sys.executable, TREE + "/tests/sim/ec2.py", "--data", self.dir + "/far", "--instance",
                                     "%s=%s/node" % (NODE, self.dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.sim.stdout.readline())
        with open(self.dir + "/cleatd.conf", "w", encoding="utf-8") as f:
            f.write("any_namespace: true\npools:\n  default:\n    backend: ebs\n")
            for key, value in {"endpoint": self.url(""), "metadata": self.url("/imds/" + NODE), "dev": self.dir + "/node/dev",
                               "sys": self.dir + "/node/sys", "calls_per_second": 0, "default_size": "1GiB"}.items():
                f.write("    %s: %s\n" % (key, value))

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    def ask(self, what, body=None):
        with urllib.request.urlopen(urllib.request.Request(self.url("/sim/" + what), json.dumps(body or {}).encode())) as r:
            return json.load(r)

    def start(self):
        self.daemon = subprocess.Popen([self.cleatd, "--config", self.dir + "/cleatd.conf", "--state-dir", self.dir + "/state", "--runtime-dir",
                                        self.dir + "/run", "--node", "node-1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                if self.run("pool", "show", "default")["pool"]["online"]:
                    return
            except subprocess.CalledProcessError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the pool does not come online")

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(20)

    def run(self, *args):
        p = subprocess.run([self.cleat, "--json", "--socket", self.dir + "/run/cleat.sock", *args], capture_output=True, text=True, check=True)
        return json.loads(p.stdout) if p.stdout.strip() else {}

    def counted(self, what, *commands):
        self.ask("uncount")
        for command in commands:
            self.run(*command)
        self.tell(what)

    def tell(self, what):
        calls = {k: v for k, v in self.ask("stats").items() if k != "throttled"}
        detail = ", ".join("%d %s" % (v, k) for k, v in sorted(calls.items(), key=lambda c: -c[1]))
        print("%-44s %5d  %s" % (what, sum(calls.values()), detail), flush=True)

    def close(self):
        self.stop()
        self.sim.stdin.close()
        self.sim.wait(20)
        subprocess.run(["umount", self.dir + "/run/mnt"], check=False, capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)


def measure(lab, volumes):
    target = lab.dir + "/target"
    os.mkdir(target)
    print("%-44s %5s" % ("operation", "calls"))
    lab.ask("uncount")
    lab.start()
    lab.tell("start with an empty pool")
    lab.counted("create", ("volume", "create", "db"))
    lab.counted("attach", ("volume", "attach", "default/db"))
    lab.counted("detach", ("volume", "detach", "default/db"))
    lab.counted("create and attach", ("volume", "create", "other"), ("volume", "attach", "default/other"))
    lab.run("volume", "detach", "default/other")
    lab.counted("first publish (attach, mkfs, mount)", ("volume", "publish", "default/db", target))
    lab.counted("expand under the mount", ("volume", "expand", "default/db", "2GiB"))
    lab.counted("snapshot", ("snapshot", "create", "default/db", "snap"))
    lab.counted("unpublish (unmount, detach)", ("volume", "unpublish", "default/db", target))
    lab.counted("publish again", ("volume", "publish", "default/db", target))
    lab.ask("uncount")
    time.sleep(12)
    lab.tell("12 s in which nothing happens")
    lab.run("volume", "unpublish", "default/db", target)
    lab.counted("restore a snapshot", ("volume", "clone", "default/snap", "copy"))
    lab.counted("delete", ("volume", "delete", "default/copy"))
    lab.ask("uncount")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: lab.run("volume", "create", "v%d" % i), range(volumes - 2)))
    lab.tell("create %d, eight at a time" % (volumes - 2))
    lab.stop()
    lab.ask("uncount")
    lab.start()
    lab.tell("start with %d volumes" % volumes)
    lab.counted("list of %d volumes" % volumes, ("volume", "list"))


def main():
    lab = Lab(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
    try:
        measure(lab, int(sys.argv[3]) if len(sys.argv) > 3 else 1000)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
