"""ebs_test: a real cleatd with an ebs pool on moto, every call's signature recomputed by botocore on the way, and the result read with boto3.

    ebs_test.py CLEATD CLEAT EC2_METADATA_MOCK

Run by run.sh with a Python that has moto and boto3.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

CLEATD, CLEAT, MOCK = sys.argv[1:4]
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
# What the metadata mock gives to everybody.
KEYS = {KEY_ID: SECRET, "12345678901": "v/12345678901"}
GIB = 1 << 30


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Checked(BaseHTTPRequestHandler):
    """Recomputes the signature of a call with botocore, and hands it on to moto."""
    protocol_version = "HTTP/1.1"
    moto = None
    seen = []  # (action, key id, whether the signature is right)

    def log_message(self, *args):
        pass

    def signature_is_right(self, body):
        words = dict(w.split("=", 1) for w in self.headers["Authorization"].split(" ", 1)[1].replace(" ", "").split(","))
        key_id, _, region, service, _ = words["Credential"].split("/")
        request = AWSRequest(method="POST", url="http://%s%s" % (self.headers["Host"], self.path), data=body,
                             headers={k: self.headers[k] for k in words["SignedHeaders"].split(";")})
        request.context["timestamp"] = self.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(key_id, KEYS[key_id]), service, region)
        want = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return key_id, want == words["Signature"]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key_id, right = self.signature_is_right(body)
        Checked.seen.append((body.split(b"&")[0].decode(), key_id, right))
        # moto wants a key of its own; what it is told is the body.
        headers = {"Content-Type": self.headers["Content-Type"],
                   "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=x"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.moto, data=body, headers=headers)) as r:
                status, text = r.status, r.read()
        except urllib.error.HTTPError as e:
            status, text = e.code, e.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Daemon:
    def __init__(self, pool):
        self.dir = tempfile.mkdtemp(prefix="cleat-ebs-")
        with open(self.dir + "/cleatd.conf", "w", encoding="utf-8") as f:
            f.write("any_namespace: true\npools:\n  default:\n    backend: ebs\n")
            f.writelines("    %s: %s\n" % pair for pair in pool.items())
        self.log = open(self.dir + "/log", "w+", encoding="utf-8")
        env = dict(os.environ, CLEAT_TEST_SECRET=SECRET)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            env.pop(name, None)
        self.process = subprocess.Popen([CLEATD, "--config", self.dir + "/cleatd.conf", "--state-dir", self.dir + "/state", "--runtime-dir",
                                         self.dir + "/run", "--node", "node-1"], stdout=self.log, stderr=self.log, env=env)
        end = time.monotonic() + 30
        while self.run("pool", "list", fails=None) is None or not self.run("pool", "show", "default")["pool"]["online"]:
            if time.monotonic() > end or self.process.poll() is not None:
                text = self.text()
                self.stop()
                raise RuntimeError("the pool does not come online: " + text)
            time.sleep(0.1)

    def text(self):
        self.log.flush()
        with open(self.dir + "/log", encoding="utf-8") as f:
            return f.read()

    def run(self, *args, fails=False):
        p = subprocess.run([CLEAT, "--json", "--socket", self.dir + "/run/cleat.sock", *args], capture_output=True, text=True, check=False)
        if p.returncode and fails is False:
            raise AssertionError("cleat %s: %s" % (" ".join(args), p.stderr))
        if p.returncode:
            return None if fails is None else p.stderr
        if fails:
            raise AssertionError("cleat %s succeeded" % " ".join(args))
        return json.loads(p.stdout) if p.stdout.strip() else {}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        subprocess.run(["umount", self.dir + "/run/mnt"], check=False, capture_output=True)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class World(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        cls.moto.start()
        Checked.moto = "http://127.0.0.1:%d/" % cls.moto._server.server_port
        cls.checked = ThreadingHTTPServer(("127.0.0.1", 0), Checked)
        threading.Thread(target=cls.checked.serve_forever, daemon=True).start()
        cls.endpoint = "http://127.0.0.1:%d" % cls.checked.server_port
        cls.ec2 = boto3.client("ec2", region_name="us-east-1", endpoint_url=Checked.moto, aws_access_key_id="x", aws_secret_access_key="x")
        cls.instance = cls.ec2.run_instances(ImageId=cls.ec2.describe_images()["Images"][0]["ImageId"], MinCount=1, MaxCount=1,
                                             Placement={"AvailabilityZone": "us-east-1a"})["Instances"][0]["InstanceId"]

    @classmethod
    def tearDownClass(cls):
        cls.checked.shutdown()
        cls.moto.stop()

    def pool(self, **more):
        return dict({"endpoint": self.endpoint, "region": "us-east-1", "zone": "us-east-1a", "instance": self.instance, "poll": 20,
                     "access_key_id": KEY_ID, "secret_access_key": "env:CLEAT_TEST_SECRET"}, **more)

    def volumes(self, pool="default"):
        return self.ec2.describe_volumes(Filters=[{"Name": "tag:cleat:pool", "Values": [pool]}])["Volumes"]


class Wire(World):
    def test_the_life_of_a_volume_as_boto3_sees_it(self):
        d = Daemon(self.pool())
        self.addCleanup(d.stop)
        d.run("volume", "create", "db", "--size", "3GiB", "--param", "iops=4000", "--param", "tags=team=red", "--label", "tier=gold äöü")
        v, = self.volumes()
        tags = {t["Key"]: t["Value"] for t in v["Tags"]}
        self.assertEqual((v["Size"], v["VolumeType"], v["AvailabilityZone"]), (3, "gp3", "us-east-1a"))
        self.assertEqual((tags["Name"], tags["team"], tags["cleat:name"]), ("db", "red", "db"))
        # Attached and detached: by whom, and where.
        d.run("volume", "attach", "default/db")
        a, = self.volumes()[0]["Attachments"]
        self.assertEqual((a["InstanceId"], a["Device"]), (self.instance, "/dev/xvdaa"))
        self.assertIn("attached to node", d.run("volume", "delete", "default/db", fails=True))
        d.run("volume", "detach", "default/db")
        self.assertEqual(self.volumes()[0]["Attachments"], [])
        # Larger, copied, restored.
        d.run("volume", "expand", "default/db", "5GiB")
        self.assertEqual(self.volumes()[0]["Size"], 5)
        d.run("snapshot", "create", "default/db", "snap")
        s, = self.ec2.describe_snapshots(Filters=[{"Name": "tag:cleat:name", "Values": ["snap"]}])["Snapshots"]
        self.assertEqual(s["VolumeId"], v["VolumeId"])
        d.run("volume", "clone", "default/snap", "copy")
        copy = [x for x in self.volumes() if x["VolumeId"] != v["VolumeId"]]
        self.assertEqual((copy[0]["SnapshotId"], copy[0]["Size"]), (s["SnapshotId"], 5))
        for verb in (("volume", "delete", "default/copy"), ("snapshot", "delete", "default/snap"), ("volume", "delete", "default/db")):
            d.run(*verb)
            d.run(*verb)
        self.assertEqual(self.volumes(), [])

    def test_records_are_found_again(self):
        d = Daemon(self.pool(pool="second"))
        for i in range(3):
            d.run("volume", "create", "v%d" % i, "--size", "1GiB", "--label", "n=%d" % i)
        d.stop()
        again = Daemon(self.pool(pool="second"))
        self.addCleanup(again.stop)
        self.assertEqual(again.run("volume", "show", "default/v2")["volume"]["labels"], {"n": "2"})
        for i in range(3):
            again.run("volume", "delete", "default/v%d" % i)
        self.assertEqual(self.volumes("second"), [])

    def test_errors_are_in_ec2s_words(self):
        d = Daemon(self.pool(pool="third"))
        self.addCleanup(d.stop)
        self.assertIn("InvalidSnapshot.NotFound", d.run("volume", "create", "x", "--size", "1GiB", "--param", "snapshot=snap-00000000", fails=True))


class Metadata(World):
    def setUp(self):
        self.port = free_port()
        self.mock = subprocess.Popen([MOCK, "-I", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.mock.wait)
        self.addCleanup(self.mock.kill)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.fail("the metadata mock does not listen")

    def test_place_and_credentials_come_from_version_two(self):
        url = "http://127.0.0.1:%d" % self.port
        with self.assertRaises(urllib.error.HTTPError) as refused:  # version 1 is off
            urllib.request.urlopen(url + "/latest/meta-data/instance-id")
        self.assertEqual(refused.exception.code, 401)
        d = Daemon({"endpoint": self.endpoint, "metadata": url, "pool": "imds", "poll": 20})
        self.addCleanup(d.stop)
        d.run("volume", "create", "db", "--size", "1GiB")
        v, = self.volumes("imds")
        self.assertEqual(v["AvailabilityZone"], "us-east-1a")
        self.assertIn(("Action=CreateVolume", "12345678901", True), Checked.seen)
        d.run("volume", "delete", "default/db")


class Signatures(World):
    def test_all_that_were_made_are_right(self):
        d = Daemon(self.pool(pool="signed"))
        self.addCleanup(d.stop)
        d.run("volume", "create", "ö ä+b&c=d~e", "--size", "1GiB", "--label", "a=b&c=d +%20*'()")
        d.run("volume", "delete", "default/ö ä+b&c=d~e")
        wrong = [s for s in Checked.seen if not s[2]]
        self.assertEqual(wrong, [])
        print("%d signatures recomputed by botocore, all right" % len(Checked.seen))


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    unittest.main(argv=sys.argv[:1], verbosity=2)
