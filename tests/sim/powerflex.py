#!/usr/bin/env python3
"""powerflex.py: a PowerFlex/ScaleIO gateway with its storage, for tests: the REST calls that a volume driver makes, stateful.

    powerflex.py --dir DIR --generation 3|4 --sdc GUID=DEV ... [--port N] [--tls CERT KEY]

Writes its URL into DIR/url once it listens.  Volumes are sparse files below DIR/volumes.  Each --sdc is one node's client: mapping a volume to
it makes a loop device and the link DEV/disk/by-id/emc-vol-<system>-<volume>, as the client's udev rules do; DEV is that node's stand-in for /dev.
Everything is kept in memory: a new process is a new, empty storage system.  Users: admin/secret.

What is checked as the real gateway does: the token of the login (Basic with an empty user for generation 3, Bearer for 4; 401 without), the
names (unique, at most 31 characters), sizes (positive, whole 8 GiB steps: rounded up), removal of what is mapped (refused), mapping to a second client (refused unless both
mappings allow it).  Numbers travel as texts where the real one sends texts.

Controls, on the same port, without login:
    GET  /_sim/state            {"calls": {"METHOD /path/with/ID": n}, "volumes": {...}, "violations": [...], "logins": n}
    POST /_sim/set              {"device_ms": n, "latency_ms": n, "appear": "never"} (kept until changed)
    POST /_sim/fail             {"path": REGEX, "method": "POST", "times": n, "status": 500, "errorCode": n, "message": "...",
                                 "after": bool (carry it out, then fail), "drop": bool (close the connection instead of answering)}
    POST /_sim/expire           all tokens are forgotten
    POST /_sim/reset-calls
"Violations" are things that lose data at a real one and that no test may cause: unmapping a device that somebody has open, two clients
writing to one volume.
"""
import argparse
import base64
import fcntl
import http.server
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import threading
import time

GIB_KB = 1 << 20
STEP_KB = 8 * GIB_KB
SYSTEM_ID = "31846a6f00000000"
DOMAIN_ID = "9f1e2d3c00000000"
POOL_ID = "6d2a41b200000000"
NAME_MAX = 31
LIMIT_KB = 64 * 1024 * GIB_KB  # what the storage pool can promise


class Refused(Exception):
    """What the gateway answers instead of a result."""

    def __init__(self, message, code, status=500):
        super().__init__(message)
        self.answer = {"message": message, "httpStatusCode": status, "errorCode": code}
        self.status = status


def not_found():
    return Refused("Could not find the volume", 79)


def whole_number(text, what):
    # The real one wants numbers as texts; a bare number is what a careless client sends.
    if not isinstance(text, str) or not text.isdigit():
        raise Refused(f"Invalid value for {what}", 0, 400)
    return int(text)


class Storage:
    def __init__(self, directory, sdcs):
        self.lock = threading.RLock()
        self.directory = directory
        self.volumes = {}
        self.sdcs = {}
        self.number = 0
        self.violations = []
        self.device_ms = 0
        self.appear = "always"
        for n, (guid, dev) in enumerate(sdcs):
            self.sdcs[f"e0c1f5a20000000{n}"] = {"guid": guid, "dev": dev}
        os.makedirs(os.path.join(directory, "volumes"), exist_ok=True)

    def path(self, vid):
        return os.path.join(self.directory, "volumes", vid)

    def new_id(self):
        self.number += 1
        return f"8f2c{self.number:012x}"

    def find(self, vid):
        if vid not in self.volumes:
            raise not_found()
        return self.volumes[vid]

    def shown(self, v):
        mapped = [
            {"sdcId": sdc, "sdcIp": f"192.0.2.{n}", "limitIops": m["iops"], "limitBwInMbps": m["kbps"] // 1024, "accessMode": m["mode"]}
            for n, (sdc, m) in enumerate(sorted(v["mapped"].items()), 1)
        ]
        return {
            "id": v["id"], "name": v["name"], "sizeInKb": v["kb"], "volumeType": v["type"], "storagePoolId": POOL_ID,
            "ancestorVolumeId": v["ancestor"], "consistencyGroupId": v["group"], "vtreeId": v["vtree"], "creationTime": v["created"],
            "mappedSdcInfo": mapped or None, "accessModeLimit": v["limit"],
            "links": [{"rel": "self", "href": f"/api/instances/Volume::{v['id']}"}],
        }

    def check_name(self, name):
        if name is None:
            return
        if not isinstance(name, str) or not name or len(name) > NAME_MAX:
            raise Refused("The volume name is invalid", 5, 400)
        if any(v["name"] == name for v in self.volumes.values()):
            raise Refused("Volume name already in use. Please use a different name.", 6)

    def add(self, name, kb, kind, ancestor=None, group=None, vtree=None):
        used = sum(v["kb"] for v in self.volumes.values())
        if used + kb > LIMIT_KB:
            raise Refused("Requested volume size exceeds the volume allocation limit", 35)
        vid = self.new_id()
        self.volumes[vid] = {
            "id": vid, "name": name, "kb": kb, "type": kind, "ancestor": ancestor, "group": group, "vtree": vtree or self.new_id(), "mapped": {},
            "limit": "ReadWrite", "created": int(time.time()),
        }
        with open(self.path(vid), "wb") as f:
            f.truncate(kb * 1024)
        return vid

    def create(self, body):
        kb = whole_number(body.get("volumeSizeInKb"), "volumeSizeInKb")
        if body.get("storagePoolId") != POOL_ID:
            raise Refused("Could not find the Storage Pool", 142)
        if body.get("protectionDomainId", DOMAIN_ID) != DOMAIN_ID:
            raise Refused("Could not find the Protection Domain", 142)
        kind = body.get("volumeType", "ThinProvisioned")
        if kind not in ("ThinProvisioned", "ThickProvisioned"):
            raise Refused("Invalid volume type", 0, 400)
        if kb <= 0:
            raise Refused("Volume size must be positive", 0, 400)
        self.check_name(body.get("name"))
        return {"id": self.add(body.get("name"), -(-kb // STEP_KB) * STEP_KB, kind)}

    def id_of(self, body):
        for v in self.volumes.values():
            if v["name"] == body.get("name"):
                return v["id"]
        raise Refused("Not found", 0)

    def link(self, sdc, vid):
        return os.path.join(self.sdcs[sdc]["dev"], "disk/by-id", f"emc-vol-{SYSTEM_ID}-{vid}")

    def sdc_of(self, body):
        if "sdcId" in body:
            sdc = body["sdcId"]
        else:
            sdc = next((s for s, d in self.sdcs.items() if d["guid"].lower() == str(body.get("guid", "")).lower()), None)
        if sdc not in self.sdcs:
            raise Refused("Could not find the SDC", 3)
        return sdc

    def map(self, vid, body):
        v = self.find(vid)
        sdc = self.sdc_of(body)
        many = str(body.get("allowMultipleMappings", "false")).lower() == "true"
        if sdc in v["mapped"]:
            raise Refused("The SDC is already mapped to this volume", 81)
        if v["mapped"] and not (many and all(m["many"] for m in v["mapped"].values())):
            raise Refused("Only a single SDC may be mapped to this volume at a time", 306)
        mode = body.get("accessMode", "ReadWrite")
        if mode not in ("ReadWrite", "ReadOnly", "NoAccess"):
            raise Refused("Invalid access mode", 0, 400)
        if mode == "ReadWrite" and any(m["mode"] == "ReadWrite" for m in v["mapped"].values()):
            self.violations.append(f"{vid} is mapped for writing to two clients")
        v["mapped"][sdc] = {"many": many, "mode": mode, "iops": 0, "kbps": 0, "loop": None}
        if self.appear == "never":
            return None
        if self.device_ms:
            threading.Timer(self.device_ms / 1000, self.appeared, (vid, sdc)).start()
        else:
            self.appeared(vid, sdc)
        return None

    def appeared(self, vid, sdc):
        with self.lock:
            m = self.volumes.get(vid, {"mapped": {}})["mapped"].get(sdc)
            if m is None or m["loop"]:
                return
            read_only = ["--read-only"] if m["mode"] == "ReadOnly" else []
            m["loop"] = subprocess.run(["losetup", "--find", "--show", *read_only, self.path(vid)], check=True, capture_output=True,
                                       text=True).stdout.strip()
            link = self.link(sdc, vid)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            if os.path.lexists(link):
                os.unlink(link)
            os.symlink(m["loop"], link)

    def unmap(self, vid, body):
        v = self.find(vid)
        every = str(body.get("allSdcs", "false")).lower() == "true" or body.get("allSdcs") == ""
        sdcs = list(v["mapped"]) if every else [self.sdc_of(body)]
        for sdc in sdcs:
            if sdc not in v["mapped"]:
                raise Refused("The volume is not mapped to the SDC", 84)
            m = v["mapped"].pop(sdc)
            link = self.link(sdc, vid)
            if os.path.lexists(link):
                os.unlink(link)
            if m["loop"]:
                if self.is_open(m["loop"]):
                    self.violations.append(f"{vid} was unmapped from {sdc} while {m['loop']} was in use")
                subprocess.run(["losetup", "--detach", m["loop"]], check=True)

    @staticmethod
    def is_open(loop):
        """Whether somebody has the device to himself (a mount, or a writer that asked for it)."""
        try:
            os.close(os.open(loop, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
            return False
        except OSError:
            return True

    def limits(self, vid, body):
        v = self.find(vid)
        sdc = self.sdc_of(body)
        if sdc not in v["mapped"]:
            raise Refused("The volume is not mapped to the SDC", 84)
        iops = whole_number(body.get("iopsLimit", "0"), "iopsLimit")
        kbps = whole_number(body.get("bandwidthLimitInKbps", "0"), "bandwidthLimitInKbps")
        if 0 < iops <= 10:
            raise Refused("The IOPS limit must be larger than 10", 0, 400)
        if kbps % 1024:
            raise Refused("The bandwidth limit must be a multiple of 1024", 0, 400)
        v["mapped"][sdc].update(iops=iops, kbps=kbps)

    def resize(self, vid, body):
        v = self.find(vid)
        gib = whole_number(body.get("sizeInGB"), "sizeInGB")
        kb = -(-gib * GIB_KB // STEP_KB) * STEP_KB
        if kb < v["kb"]:
            raise Refused("Volume capacity can only be increased", 133)
        v["kb"] = kb
        os.truncate(self.path(vid), kb * 1024)
        for m in v["mapped"].values():
            if m["loop"]:
                subprocess.run(["losetup", "--set-capacity", m["loop"]], check=True)

    def snapshot(self, body):
        defs = body.get("snapshotDefs")
        if not isinstance(defs, list) or not defs:
            raise Refused("snapshotDefs are missing", 0, 400)
        for d in defs:
            self.find(d.get("volumeId"))
            self.check_name(d.get("snapshotName"))
        group, ids = self.new_id(), []
        for d in defs:
            source = self.find(d["volumeId"])
            vid = self.add(d.get("snapshotName"), source["kb"], "Snapshot", source["id"], group, source["vtree"])
            # What the node has written but not synced is not in a snapshot, as on any block storage.
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.path(source["id"]), self.path(vid)], check=True)
            ids.append(vid)
        return {"volumeIdList": ids, "snapshotGroupId": group}

    def overwrite(self, vid, body):
        v = self.find(vid)
        source = self.find(body.get("srcVolumeId"))
        if source["vtree"] != v["vtree"] or source["kb"] != v["kb"]:
            raise Refused("The volumes are not of the same size and tree", 0, 400)
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.path(source["id"]), self.path(vid)], check=True)

    def remove(self, vid, body):
        v = self.find(vid)
        if body.get("removeMode", "ONLY_ME") != "ONLY_ME":
            raise Refused("This remove mode is not simulated", 0, 400)
        if v["mapped"]:
            raise Refused("The volume is mapped to an SDC", 104)
        for child in self.volumes.values():
            if child["ancestor"] == vid:
                child["ancestor"] = v["ancestor"]
        del self.volumes[vid]
        os.unlink(self.path(vid))

    def rename(self, vid, body):
        v = self.find(vid)
        self.check_name(body.get("newName"))
        v["name"] = body["newName"]

    def all_sdcs(self):
        return [
            {"id": sdc, "sdcGuid": d["guid"].upper(), "sdcIp": f"192.0.2.{n}", "mdmConnectionState": "Connected", "sdcApproved": True, "name": None}
            for n, (sdc, d) in enumerate(self.sdcs.items(), 1)
        ]

    def pool(self):
        used = sum(v["kb"] for v in self.volumes.values())
        return {"id": POOL_ID, "name": "pool1", "protectionDomainId": DOMAIN_ID, "capacityAvailableForVolumeAllocationInKb": LIMIT_KB - used}

    def close(self):
        """Lets the devices go, as when the storage system is switched off."""
        with self.lock:
            for v in self.volumes.values():
                for sdc, m in v["mapped"].items():
                    if m["loop"]:
                        subprocess.run(["losetup", "--detach", m["loop"]], check=False)
                    if os.path.lexists(self.link(sdc, v["id"])):
                        os.unlink(self.link(sdc, v["id"]))


class Gateway(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, storage, generation):
        super().__init__(address, Handler)
        self.storage = storage
        self.generation = generation
        self.version = "3.6" if generation == 3 else "4.5"
        self.tokens = set()
        self.calls = {}
        self.logins = 0
        self.latency_ms = 0
        self.failures = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A small answer goes out at once.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    # ---- one request ----

    def serve(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.path.startswith("/_sim/"):
                return self.send(200, self.control(method, json.loads(body or "{}")))
            self.count(method)
            if self.server.latency_ms:
                time.sleep(self.server.latency_ms / 1000)
            failure = self.failure(method)
            if failure and not failure.get("after"):
                return self.fail(failure)
            answer = self.answer(method, body)
            if failure:
                return self.fail(failure)
            return self.send(200, answer)
        except Refused as e:
            return self.send(e.status, e.answer)

    def send(self, status, answer):
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="ScaleIO Gateway"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def count(self, method):
        path = re.sub(r"::[0-9a-f]+", "::ID", self.path.split("?")[0])
        with self.server.storage.lock:
            key = f"{method} {path}"
            self.server.calls[key] = self.server.calls.get(key, 0) + 1

    def failure(self, method):
        with self.server.storage.lock:
            for f in self.server.failures:
                if f.get("method", method) == method and re.search(f["path"], self.path) and f.get("times", 1) > 0:
                    f["times"] = f.get("times", 1) - 1
                    return f
        return None

    def fail(self, failure):
        if failure.get("drop"):
            self.close_connection = True
            self.connection.close()
            return None
        status = failure.get("status", 500)
        return self.send(status, {"message": failure.get("message", "Internal error"), "httpStatusCode": status,
                                  "errorCode": failure.get("errorCode", 0)})

    # ---- who asks ----

    def credentials(self):
        kind, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind == "Basic":
            user, _, password = base64.b64decode(value or "", validate=False).decode(errors="replace").partition(":")
            return kind, user, password
        return kind, "", value

    def login(self):
        kind, user, password = self.credentials()
        if (kind, user, password) != ("Basic", "admin", "secret"):
            raise Refused("Unauthorized", 0, 401)
        token = "YWRtaW46" + secrets.token_urlsafe(24)
        with self.server.storage.lock:
            self.server.tokens.add(token)
            self.server.logins += 1
        return token

    def check_token(self):
        kind, user, token = self.credentials()
        right = kind == "Basic" and user == "" if self.server.generation == 3 else kind == "Bearer"
        if not right or token not in self.server.tokens:
            raise Refused("Unauthorized", 0, 401)

    # ---- what is asked ----

    def answer(self, method, raw):
        path = self.path.rstrip("/")
        if (method, path) == ("GET", "/api/login"):
            return self.login()
        self.check_token()
        if (method, path) == ("GET", "/api/version"):
            return self.server.version
        if method == "POST" and not (self.headers.get("Content-Type") or "").startswith("application/json"):
            raise Refused("Unsupported Media Type", 0, 415)
        try:
            body = json.loads(raw or "{}")
        except ValueError:
            raise Refused("The request is not JSON", 0, 400) from None
        with self.server.storage.lock:
            return self.dispatch(method, path, body)

    def dispatch(self, method, path, body):
        s = self.server.storage
        plain = {
            ("GET", "/api/types/System/instances"): lambda: [{"id": SYSTEM_ID, "name": "sim", "systemVersionName": "sim"}],
            ("GET", "/api/types/StoragePool/instances"): lambda: [s.pool()],
            ("GET", "/api/types/ProtectionDomain/instances"): lambda: [{"id": DOMAIN_ID, "name": "domain1"}],
            ("GET", f"/api/instances/StoragePool::{POOL_ID}"): s.pool,
            ("GET", f"/api/instances/StoragePool::{POOL_ID}/relationships/Statistics"): s.pool,
            ("GET", f"/api/instances/System::{SYSTEM_ID}/relationships/Sdc"): s.all_sdcs,
            ("GET", "/api/types/Sdc/instances"): s.all_sdcs,
            ("GET", "/api/types/Volume/instances"): lambda: [s.shown(v) for v in s.volumes.values()],
            ("POST", "/api/types/Volume/instances"): lambda: s.create(body),
            ("POST", "/api/types/Volume/instances/action/queryIdByKey"): lambda: s.id_of(body),
            ("POST", f"/api/instances/System::{SYSTEM_ID}/action/snapshotVolumes"): lambda: s.snapshot(body),
        }
        if (method, path) in plain:
            return plain[(method, path)]()
        volume = re.fullmatch(r"/api/instances/Volume::([0-9a-f]+)(?:/action/(\w+))?", path)
        if not volume:
            raise Refused("HTTP 404 Not Found", 0, 404)
        vid, action = volume.groups()
        if method == "GET" and not action:
            return s.shown(s.find(vid))
        actions = {"addMappedSdc": s.map, "removeMappedSdc": s.unmap, "setMappedSdcLimits": s.limits, "setVolumeSize": s.resize,
                   "removeVolume": s.remove, "setVolumeName": s.rename,
                   "overwriteVolumeContent" if self.server.generation == 3 else "restore": s.overwrite}
        if method != "POST" or action not in actions:
            raise Refused("HTTP 404 Not Found", 0, 404)
        return actions[action](vid, body)

    # ---- the test's own calls ----

    def control(self, method, body):
        server, storage = self.server, self.server.storage
        with storage.lock:
            if self.path == "/_sim/state":
                return {"calls": server.calls, "logins": server.logins, "violations": storage.violations,
                        "volumes": {v["id"]: {**storage.shown(v), "loops": [m["loop"] for m in v["mapped"].values()]}
                                    for v in storage.volumes.values()}}
            if self.path == "/_sim/set":
                storage.device_ms = body.get("device_ms", storage.device_ms)
                storage.appear = body.get("appear", storage.appear)
                server.latency_ms = body.get("latency_ms", server.latency_ms)
            elif self.path == "/_sim/fail":
                re.compile(body["path"])
                server.failures.append(body)
            elif self.path == "/_sim/expire":
                server.tokens.clear()
            elif self.path == "/_sim/reset-calls":
                server.calls.clear()
                server.logins = 0
            else:
                raise Refused(f"no control '{self.path}'", 0, 404)
            return {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--generation", type=int, choices=(3, 4), default=3)
    parser.add_argument("--sdc", action="append", required=True, metavar="GUID=DEV")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = parser.parse_args()
    storage = Storage(args.dir, [tuple(s.split("=", 1)) for s in args.sdc])
    # One simulator a directory: a second would serve the same files.
    lock = os.open(args.dir, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    gateway = Gateway(("127.0.0.1", args.port), storage, args.generation)
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        gateway.socket = context.wrap_socket(gateway.socket, server_side=True)
    url = f"{'https' if args.tls else 'http'}://127.0.0.1:{gateway.server_address[1]}"
    with open(os.path.join(args.dir, "url.new"), "w", encoding="ascii") as f:
        f.write(url)
    os.rename(os.path.join(args.dir, "url.new"), os.path.join(args.dir, "url"))
    try:
        gateway.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        storage.close()


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main()
