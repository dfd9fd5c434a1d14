#!/usr/bin/env python3
"""ec2: a stateful far side for the ebs backend: the part of the EC2 query API that it calls, with what makes the real one hard.

    ec2.py --data FOLDER [--port N] [--instance ID=FOLDER[,ZONE[,TYPE]]]...     prints its port when it listens; ends with its standard input

States take time, new things are not described at once, requests are throttled, client tokens are remembered, lists come in pages, and an
attachment makes a real block device (a loop device on FOLDER/vol-*.img) appear in <instance's folder>/dev, with its serial number below
<instance's folder>/sys, as the NVMe driver shows it.  Every call's signature is recomputed.  Metadata (version 2 only) is at
/imds/<instance>/latest/...

For tests: GET /sim/stats (calls by action), POST /sim/reset, /sim/uncount, /sim/set (keys of Knobs), /sim/fault {"action", "code", "status",
"times", "late": done but not answered} or {"forget": true},
/sim/instance {"id", "state"}, /sim/volume {"gib", "tags", "fs"} (one that is there already), GET /sim/state.
"""
import argparse
import hashlib
import hmac
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

GIB = 1 << 30
REGION = "eu-test-1"
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ROLE_KEYS = {}  # keys that the metadata service has given out: id -> (secret, token, expires)


class Knobs:
    """Seconds, unless said otherwise."""
    create = 0.03  # creating -> available
    late = 0.0  # until a new volume or snapshot is described
    attach = 0.03
    device = 0.0  # from attached to the device being there
    detach = 0.03
    modify = 0.03  # modifying -> optimizing
    snapshot = 0.03  # pending -> completed
    delete = 0.03
    page = 1000  # most results of a page
    rate = 0.0  # calls a second before they are refused; 0: any number
    burst = 10
    attach_limit = 0  # of every instance; 0: none
    modify_again = 0.0  # the real one: six hours
    stuck_names = ""  # device names with which an attachment stays "attaching" for ever
    used_names = ""  # device names that are refused as in use
    key_seconds = 3600  # life of the role's keys


class Fault(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(message)
        self.code, self.status = code, status


class Thing:
    pass


class Sim:
    def __init__(self, data, instances):
        self.lock = threading.RLock()
        self.data = data
        self.instances = instances
        self.started = set()
        self.reset()

    def reset(self):
        self.knobs = Knobs()
        self.volumes, self.snapshots, self.tokens = {}, {}, {}
        self.calls, self.faults, self.modifications = {}, [], {}
        self.throttled = 0
        self.tags = {i: {} for i in self.instances}
        self.states = {i: "running" for i in self.instances}
        self.bucket, self.bucket_at = None, time.monotonic()

    def later(self, seconds, fn, *args):
        """Runs fn with the lock after some time, at once for 0."""
        def run():
            with self.lock:
                fn(*args)
        if seconds <= 0:
            return run()
        timer = threading.Timer(seconds, run)
        timer.daemon = True
        timer.start()

    # ---- devices ----

    def path(self, thing):
        return os.path.join(self.data, thing.id + ".img")

    def plug(self, volume, attachment):
        if attachment.state not in ("attached", "busy") or attachment.loop:
            return
        folder = self.instances[attachment.instance].folder
        if not folder:
            return
        loop = subprocess.run(["losetup", "--find", "--show", self.path(volume)], check=True, capture_output=True, text=True).stdout.strip()
        # A loop device keeps what its last user set, and a new disk is writable.
        subprocess.run(["blockdev", "--setrw", loop], check=True)
        attachment.loop = loop
        n = 1
        while os.path.exists("%s/sys/block/nvme%dn1" % (folder, n)):
            n += 1
        attachment.name = name = "nvme%dn1" % n
        rdev = os.stat(loop).st_rdev
        made = "%s/sys/.%s" % (folder, name)
        os.makedirs(made + "/device")
        self.write(made + "/dev", "%d:%d" % (os.major(rdev), os.minor(rdev)))
        self.write(made + "/size", str(volume.gib * GIB // 512))
        self.write(made + "/device/serial", volume.id.replace("-", "") + "  ")
        os.mknod("%s/dev/%s" % (folder, name), 0o600 | stat.S_IFBLK, rdev)
        link = "%s/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_%s" % (folder, volume.id.replace("-", ""))
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if os.path.islink(link):
            os.unlink(link)
        os.symlink("../../" + name, link)
        os.makedirs(folder + "/sys/block", exist_ok=True)
        os.rename(made, "%s/sys/block/%s" % (folder, name))

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="ascii") as f:
            f.write(text + "\n")

    def unplug(self, attachment, volume):
        if not attachment.loop:
            return
        folder = self.instances[attachment.instance].folder
        shutil.rmtree("%s/sys/block/%s" % (folder, attachment.name), ignore_errors=True)
        for path in ("%s/dev/%s" % (folder, attachment.name),
                     "%s/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_%s" % (folder, volume.id.replace("-", ""))):
            if os.path.lexists(path):
                os.unlink(path)
        subprocess.run(["losetup", "-d", attachment.loop], check=False, capture_output=True)
        attachment.loop = None

    def grow(self, volume):
        os.truncate(self.path(volume), volume.gib * GIB)
        for a in volume.attachments:
            if a.loop:
                subprocess.run(["losetup", "-c", a.loop], check=True)
                self.write("%s/sys/block/%s/size" % (self.instances[a.instance].folder, a.name), str(volume.gib * GIB // 512))

    # ---- what the actions share ----

    def new(self, prefix, kind):
        t = Thing()
        t.id = prefix + os.urandom(9).hex()[:17]
        t.kind, t.tags, t.attachments = kind, {}, []
        t.created = time.time()
        t.visible_at = time.monotonic() + self.knobs.late
        return t

    def volume(self, p):
        v = self.volumes.get(p.get("VolumeId", ""))
        if not v or time.monotonic() < v.visible_at or v.state == "gone":
            raise Fault("InvalidVolume.NotFound", "The volume '%s' does not exist." % p.get("VolumeId"))
        return v

    def set_tags(self, tags, pairs):
        for key, value in pairs.items():
            if len(key) > 127 or len(value) > 255:
                raise Fault("InvalidParameterValue", "Tag key or value is too long")
            if key.startswith("aws:"):
                raise Fault("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
        merged = dict(tags)
        merged.update(pairs)
        if len(merged) > 50:
            raise Fault("TagLimitExceeded", "More than 50 tags")
        tags.clear()
        tags.update(merged)

    @staticmethod
    def pairs(p, prefix):
        out, i = {}, 1
        while "%sTag.%d.Key" % (prefix, i) in p:
            out[p["%sTag.%d.Key" % (prefix, i)]] = p.get("%sTag.%d.Value" % (prefix, i), "")
            i += 1
        return out

    @staticmethod
    def filters(p):
        out, i = [], 1
        while "Filter.%d.Name" % i in p:
            values, k = [], 1
            while "Filter.%d.Value.%d" % (i, k) in p:
                values.append(p["Filter.%d.Value.%d" % (i, k)])
                k += 1
            if len(values) > 200:
                raise Fault("FilterLimitExceeded", "More than 200 filter values")
            out.append((p["Filter.%d.Name" % i], values))
            i += 1
        return out

    @staticmethod
    def match(pattern, text):
        regex = ""
        it = iter(pattern)
        for c in it:
            if c == "\\":
                regex += re.escape(next(it, ""))
            else:
                regex += {"*": ".*", "?": "."}.get(c, re.escape(c))
        return re.fullmatch(regex, text, re.S) is not None

    def fits(self, thing, filters):
        for name, values in filters:
            if name.startswith("tag:"):
                has = [thing.tags[name[4:]]] if name[4:] in thing.tags else []
            elif name in ("volume-id", "snapshot-id", "instance-id"):
                has = [thing.id]
            elif name == "attachment.instance-id":
                has = [a.instance for a in thing.attachments]
            elif name == "status":
                has = [thing.state]
            else:
                raise Fault("InvalidParameterValue", "The filter '%s' is invalid" % name)
            if not any(self.match(v, h) for v in values for h in has):
                return False
        return True

    def paged(self, p, things, xml, name):
        size = int(p.get("MaxResults", "1000"))
        if size < 5:
            raise Fault("InvalidParameterValue", "MaxResults is too small")
        size = min(size, self.knobs.page)
        things = sorted(things, key=lambda t: t.id)
        start = p.get("NextToken", "")
        if start:
            things = [t for t in things if t.id > bytes.fromhex(start).decode()]
        page = things[:size]
        more = "<nextToken>%s</nextToken>" % page[-1].id.encode().hex() if len(things) > size else ""
        return "<%s>%s</%s>%s" % (name, "".join("<item>%s</item>" % xml(t) for t in page), name, more)

    @staticmethod
    def tag_xml(tags):
        if not tags:
            return ""
        return "<tagSet>%s</tagSet>" % "".join(
            "<item><key>%s</key><value>%s</value></item>" % (escape(k), escape(v)) for k, v in sorted(tags.items()))

    @staticmethod
    def stamp(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))

    def attachment_xml(self, v, a):
        return ("<volumeId>%s</volumeId><instanceId>%s</instanceId><device>%s</device><status>%s</status>"
                "<deleteOnTermination>false</deleteOnTermination>") % (v.id, a.instance, a.device, a.state)

    def volume_xml(self, v):
        xml = ("<volumeId>%s</volumeId><size>%d</size><snapshotId>%s</snapshotId><availabilityZone>%s</availabilityZone><status>%s</status>"
               "<createTime>%s</createTime><volumeType>%s</volumeType><encrypted>%s</encrypted><multiAttachEnabled>false</multiAttachEnabled>"
               ) % (v.id, v.gib, v.snapshot, v.zone, v.state, self.stamp(v.created), v.type, "true" if v.encrypted else "false")
        if v.iops:
            xml += "<iops>%d</iops>" % v.iops
        if v.throughput:
            xml += "<throughput>%d</throughput>" % v.throughput
        xml += "<attachmentSet>%s</attachmentSet>" % "".join("<item>%s</item>" % self.attachment_xml(v, a) for a in v.attachments)
        return xml + self.tag_xml(v.tags)

    def snapshot_xml(self, s):
        return ("<snapshotId>%s</snapshotId><volumeId>%s</volumeId><status>%s</status><startTime>%s</startTime><progress>%s</progress>"
                "<ownerId>123456789012</ownerId><volumeSize>%d</volumeSize><encrypted>%s</encrypted>") % (
                    s.id, s.volume, s.state, self.stamp(s.created), "100%" if s.state == "completed" else "10%", s.gib,
                    "true" if s.encrypted else "false") + self.tag_xml(s.tags)

    # ---- actions: parameters they know, and what they do ----

    KNOWN = {
        "CreateVolume": r"AvailabilityZone|Size|VolumeType|Iops|Throughput|SnapshotId|Encrypted|KmsKeyId|ClientToken|TagSpecification\.1\..*",
        "DescribeVolumes": r"MaxResults|NextToken|Filter\..*|VolumeId\.\d+",
        "DescribeSnapshots": r"MaxResults|NextToken|Filter\..*|SnapshotId\.\d+|Owner\.\d+",
        "DescribeInstances": r"MaxResults|NextToken|Filter\..*|InstanceId\.\d+",
        "DescribeVolumesModifications": r"VolumeId\.\d+",
        "AttachVolume": r"VolumeId|InstanceId|Device",
        "DetachVolume": r"VolumeId|InstanceId|Device|Force",
        "DeleteVolume": r"VolumeId",
        "ModifyVolume": r"VolumeId|Size|VolumeType|Iops|Throughput",
        "CreateSnapshot": r"VolumeId|Description|TagSpecification\.1\..*",
        "DeleteSnapshot": r"SnapshotId",
        "CreateTags": r"ResourceId\.\d+|Tag\..*",
        "DeleteTags": r"ResourceId\.\d+|Tag\..*",
    }

    def performance(self, v, p):
        v.type = p.get("VolumeType", v.type)
        iops, throughput = int(p.get("Iops", "0")), int(p.get("Throughput", "0"))
        if iops and v.type not in ("gp3", "io1", "io2"):
            raise Fault("InvalidParameterCombination", "The parameter iops is not supported for %s volumes." % v.type)
        if throughput and v.type != "gp3":
            raise Fault("InvalidParameterCombination", "The parameter throughput is not supported for %s volumes." % v.type)
        if v.type == "gp3":
            v.iops, v.throughput = iops or max(v.iops, 3000), throughput or max(v.throughput, 125)
            if not 3000 <= v.iops <= 16000 or not 125 <= v.throughput <= 1000:
                raise Fault("InvalidParameterValue", "iops or throughput out of range")
        elif v.type in ("io1", "io2"):
            if not iops and not v.iops:
                raise Fault("MissingParameter", "The request must contain the parameter iops")
            v.iops, v.throughput = iops or v.iops, 0
        else:
            v.iops = v.throughput = 0

    def CreateVolume(self, p):
        token = p.get("ClientToken")
        wish = json.dumps({k: v for k, v in sorted(p.items()) if k != "ClientToken"})
        if token in self.tokens:
            had, vid = self.tokens[token]
            if had != wish:
                raise Fault("IdempotentParameterMismatch", "The client token was used with other parameters")
            return self.volume_xml(self.volumes[vid])
        if p.get("AvailabilityZone") not in {i.zone for i in self.instances.values()}:
            raise Fault("InvalidZone.NotFound", "The zone '%s' does not exist." % p.get("AvailabilityZone"))
        v = self.new("vol-", "volume")
        v.snapshot, v.zone, v.type, v.iops, v.throughput = p.get("SnapshotId", ""), p["AvailabilityZone"], "gp2", 0, 0
        v.gib, v.encrypted = int(p.get("Size", "0")), p.get("Encrypted") == "true"
        self.performance(v, p)
        source = None
        if v.snapshot:
            source = self.snapshots.get(v.snapshot)
            if not source:
                raise Fault("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist." % v.snapshot)
            if source.state != "completed":
                raise Fault("IncorrectState", "Snapshot is in invalid state - %s" % source.state)
            v.gib = v.gib or source.gib
            if v.gib < source.gib:
                raise Fault("InvalidParameterValue", "Volume of %dGiB is smaller than snapshot" % v.gib)
        if not 1 <= v.gib <= 16384:
            raise Fault("InvalidParameterValue", "Size %d is out of range" % v.gib)
        self.set_tags(v.tags, self.pairs(p, "TagSpecification.1."))
        if source:
            subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.path(source), self.path(v)], check=True)
        with open(self.path(v), "ab") as f:
            f.truncate(v.gib * GIB)
        v.state = "creating"
        self.volumes[v.id] = v
        if token:
            self.tokens[token] = (wish, v.id)
        xml = self.volume_xml(v)

        def ready():
            if v.state == "creating":
                v.state = "available"
        self.later(self.knobs.create, ready)
        return xml

    def visible(self, things):
        now = time.monotonic()
        return [t for t in things.values() if now >= t.visible_at and t.state != "gone"]

    def named(self, p, prefix, things, code):
        ids = [v for k, v in p.items() if re.fullmatch(prefix + r"\.\d+", k)]
        if ids and "MaxResults" in p:
            raise Fault("InvalidParameterCombination", "The parameter %s cannot be used with the parameter maxResults" % prefix)
        for i in ids:
            if i not in {t.id for t in things}:
                raise Fault(code, "'%s' does not exist." % i)
        return [t for t in things if not ids or t.id in ids]

    def DescribeVolumes(self, p):
        filters = self.filters(p)
        things = self.named(p, "VolumeId", self.visible(self.volumes), "InvalidVolume.NotFound")
        return self.paged(p, [v for v in things if self.fits(v, filters)], self.volume_xml, "volumeSet")

    def DescribeSnapshots(self, p):
        filters = self.filters(p)
        things = self.named(p, "SnapshotId", self.visible(self.snapshots), "InvalidSnapshot.NotFound")
        return self.paged(p, [s for s in things if self.fits(s, filters)], self.snapshot_xml, "snapshotSet")

    def DescribeInstances(self, p):
        filters, out = self.filters(p), ""
        for i in sorted(self.instances):
            t = Thing()
            t.id, t.tags, t.attachments, t.state = i, self.tags[i], [], self.states[i]
            if self.states[i] == "gone" or not self.fits(t, filters):
                continue
            out += ("<item><reservationId>r-1</reservationId><instancesSet><item><instanceId>%s</instanceId><instanceState><code>16</code>"
                    "<name>%s</name></instanceState><instanceType>%s</instanceType><placement><availabilityZone>%s</availabilityZone></placement>"
                    "%s</item></instancesSet></item>") % (i, self.states[i], self.instances[i].type, self.instances[i].zone, self.tag_xml(t.tags))
        return "<reservationSet>%s</reservationSet>" % out

    def AttachVolume(self, p):
        v, i, device = self.volume(p), p.get("InstanceId"), p.get("Device", "")
        if i not in self.instances or self.states[i] == "gone":
            raise Fault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist" % i)
        if self.states[i] not in ("running", "stopped"):
            raise Fault("IncorrectState", "Instance '%s' is not 'running'." % i)
        if v.attachments:
            raise Fault("VolumeInUse", "%s is already attached to an instance" % v.id)
        if v.state != "available":
            raise Fault("IncorrectState", "Volume '%s' is in state '%s'" % (v.id, v.state))
        if v.zone != self.instances[i].zone:
            raise Fault("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'" % (v.id, i))
        others = [a for o in self.volumes.values() for a in o.attachments if a.instance == i]
        if device in self.knobs.used_names.split() or any(a.device == device for a in others):
            raise Fault("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use" % (device, device))
        if self.knobs.attach_limit and len(others) >= self.knobs.attach_limit:
            raise Fault("AttachmentLimitExceeded", "The maximum number of attachments is reached")
        a = Thing()
        a.instance, a.device, a.state, a.loop, a.name = i, device, "attaching", None, ""
        v.attachments.append(a)
        v.state = "in-use"

        def attached():
            if a.state == "attaching" and device not in self.knobs.stuck_names.split():
                a.state = "attached"
                if self.states[i] == "running":
                    self.later(self.knobs.device, self.plug, v, a)
        xml = self.attachment_xml(v, a)
        self.later(self.knobs.attach, attached)
        return xml

    def DetachVolume(self, p):
        v, i = self.volume(p), p.get("InstanceId")
        mine = [a for a in v.attachments if not i or a.instance == i]
        if not mine:
            raise Fault("IncorrectState", "Volume '%s' is in the 'available' state." % v.id)
        a = mine[0]
        a.state = "detaching"

        def detached():
            if a not in v.attachments:
                return
            self.unplug(a, v)
            v.attachments.remove(a)
            if v.state == "in-use":
                v.state = "available"
        xml = self.attachment_xml(v, a)
        self.later(self.knobs.detach, detached)
        return xml

    def DeleteVolume(self, p):
        v = self.volume(p)
        if v.attachments:
            raise Fault("VolumeInUse", "Volume %s is currently attached to %s" % (v.id, v.attachments[0].instance))
        if v.state == "creating":
            raise Fault("IncorrectState", "The volume '%s' is 'creating'" % v.id)
        v.state = "deleting"
        if os.path.exists(self.path(v)):
            os.unlink(self.path(v))

        def gone():
            v.state = "gone"
        self.later(self.knobs.delete, gone)
        return "<return>true</return>"

    def ModifyVolume(self, p):
        v = self.volume(p)
        last = self.modifications.get(v.id)
        if last and last["state"] == "modifying":
            raise Fault("IncorrectModificationState", "Volume %s has an ongoing modification" % v.id)
        if last and time.time() < last["at"] + self.knobs.modify_again:
            raise Fault("VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit. Wait at least 6 hours")
        size = int(p.get("Size", str(v.gib)))
        if size < v.gib:
            raise Fault("InvalidParameterValue", "New size cannot be smaller than existing size")
        after = Thing()
        after.type, after.iops, after.throughput = v.type, v.iops, v.throughput
        self.performance(after, p)
        m = {"at": time.time(), "state": "modifying", "size": size, "original": v.gib}
        self.modifications[v.id] = m

        def done():
            v.type, v.iops, v.throughput = after.type, after.iops, after.throughput
            if v.gib != size and v.state != "gone":
                v.gib = size
                self.grow(v)
            m["state"] = "optimizing"
        self.later(self.knobs.modify, done)
        return "<volumeModification>%s</volumeModification>" % self.modification_xml(v.id)

    def modification_xml(self, vid):
        m = self.modifications[vid]
        return ("<volumeId>%s</volumeId><modificationState>%s</modificationState><targetSize>%d</targetSize><originalSize>%d</originalSize>"
                "<progress>%d</progress>") % (vid, m["state"], m["size"], m["original"], 0 if m["state"] == "modifying" else 50)

    def DescribeVolumesModifications(self, p):
        ids = [v for k, v in p.items() if k.startswith("VolumeId.")]
        for i in ids:
            if i not in self.modifications:
                raise Fault("InvalidVolumeModification.NotFound", "Modification for volume '%s' does not exist." % i)
        return "<volumeModificationSet>%s</volumeModificationSet>" % "".join("<item>%s</item>" % self.modification_xml(i) for i in ids)

    def CreateSnapshot(self, p):
        v = self.volume(p)
        if v.state not in ("available", "in-use"):
            raise Fault("IncorrectState", "Volume '%s' is in state '%s'" % (v.id, v.state))
        s = self.new("snap-", "snapshot")
        s.volume, s.gib, s.state, s.encrypted = v.id, v.gib, "pending", v.encrypted
        self.set_tags(s.tags, self.pairs(p, "TagSpecification.1."))
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", self.path(v), self.path(s)], check=True)
        self.snapshots[s.id] = s

        def completed():
            if s.state == "pending":
                s.state = "completed"
        xml = self.snapshot_xml(s)
        self.later(self.knobs.snapshot, completed)
        return xml

    def DeleteSnapshot(self, p):
        s = self.snapshots.get(p.get("SnapshotId", ""))
        if not s or s.state == "gone":
            raise Fault("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist." % p.get("SnapshotId"))
        s.state = "gone"
        os.unlink(self.path(s))
        return "<return>true</return>"

    def taggable(self, p):
        out = []
        for rid in [v for k, v in p.items() if k.startswith("ResourceId.")]:
            t = self.volumes.get(rid) or self.snapshots.get(rid)
            if rid in self.tags:
                out.append(self.tags[rid])
            elif t and t.state != "gone":
                out.append(t.tags)
            else:
                kind = {"v": "Volume", "s": "Snapshot", "i": "InstanceID"}.get(rid[:1], "ID")
                raise Fault("Invalid%s.NotFound" % kind, "The ID '%s' does not exist" % rid)
        return out

    def CreateTags(self, p):
        for tags in self.taggable(p):
            self.set_tags(tags, self.pairs(p, ""))
        return "<return>true</return>"

    def DeleteTags(self, p):
        for tags in self.taggable(p):
            for key, value in p.items():
                if re.fullmatch(r"Tag\.\d+\.Key", key):
                    tags.pop(value, None)
        return "<return>true</return>"

    # ---- one call ----

    def throttle(self):
        if not self.knobs.rate:
            return
        now = time.monotonic()
        if self.bucket is None:
            self.bucket = self.knobs.burst
        self.bucket = min(self.knobs.burst, self.bucket + (now - self.bucket_at) * self.knobs.rate)
        self.bucket_at = now
        if self.bucket < 1:
            self.throttled += 1
            raise Fault("RequestLimitExceeded", "Request limit exceeded.", 503)
        self.bucket -= 1

    def injected(self, action):
        for f in self.faults:
            if f["action"] in (action, "*") and f["times"] > 0:
                f["times"] -= 1
                return f
        return None

    def call(self, p):
        action = p.pop("Action", "")
        if p.pop("Version", "") != "2016-11-15":
            raise Fault("InvalidAction", "The version is missing")
        if action not in self.KNOWN:
            raise Fault("InvalidAction", "The action %s is not valid for this web service." % action)
        for key in p:
            if not re.fullmatch(self.KNOWN[action], key):
                raise Fault("UnknownParameter", "The parameter %s is not recognized" % key)
        with self.lock:
            self.calls[action] = self.calls.get(action, 0) + 1
            self.throttle()
            fault = self.injected(action)
            if fault and not fault.get("late"):
                raise Fault(fault["code"], "injected", fault.get("status", 400))
            try:
                xml = getattr(self, action)(p)
            except (OSError, subprocess.CalledProcessError) as e:  # the disk below is full
                raise Fault("InsufficientVolumeCapacity", str(e), 500) from e
            if fault:  # it was done, and the answer is lost
                raise ConnectionError
            return "<%sResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>r</requestId>%s</%sResponse>" % (action, xml, action)

    # ---- for tests ----

    def forget_everything(self):
        with self.lock:
            for v in self.volumes.values():
                for a in v.attachments:
                    self.unplug(a, v)
            for name in os.listdir(self.data):
                if name.endswith(".img"):
                    os.unlink(os.path.join(self.data, name))
            self.reset()

    def state(self):
        with self.lock:
            return {"volumes": [{"id": v.id, "state": v.state, "gib": v.gib, "type": v.type, "iops": v.iops, "throughput": v.throughput,
                                 "encrypted": v.encrypted, "tags": v.tags, "zone": v.zone,
                                 "attachments": [[a.instance, a.device, a.state] for a in v.attachments]}
                                for v in self.volumes.values() if v.state not in ("gone", "deleting")],
                    "snapshots": [{"id": s.id, "state": s.state, "volume": s.volume, "tags": s.tags} for s in self.snapshots.values()
                                  if s.state != "gone"]}

    def control(self, what, body):
        if what == "stats":
            with self.lock:
                return dict(self.calls, throttled=self.throttled)
        if what == "state":
            return self.state()
        if what == "reset":
            self.forget_everything()
        elif what == "uncount":
            self.calls = {}
        elif what == "set":
            for key, value in body.items():
                getattr(Knobs, key)
                setattr(self.knobs, key, type(getattr(Knobs, key))(value))
        elif what == "fault" and body.get("forget"):
            self.faults = []
        elif what == "fault":
            self.faults.append(dict({"times": 1}, **body))
        elif what == "instance":
            self.states[body["id"]] = body["state"]
        elif what == "volume":
            return self.existing(body)
        else:
            raise KeyError(what)
        return {}

    def existing(self, body):
        with self.lock:
            v = self.new("vol-", "volume")
            v.snapshot, v.zone, v.type, v.iops, v.throughput, v.encrypted = "", body.get("zone", "eu-test-1a"), "gp2", 100, 0, False
            v.gib, v.state = body.get("gib", 1), "available"
            v.tags = dict(body.get("tags", {}))
            with open(self.path(v), "wb") as f:
                f.truncate(v.gib * GIB)
            if body.get("fs"):
                subprocess.run(["mkfs." + body["fs"], "-q", self.path(v)], check=True, capture_output=True)
            self.volumes[v.id] = v
            return {"id": v.id}


# ---- the signature, from its description (AWS General Reference, "Signature Version 4") ----

def sign(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def check_signature(method, path, headers, body):
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                     headers.get("Authorization", ""))
    if not m:
        raise Fault("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    key_id, day, region, service, signed, signature = m.groups()
    secret = SECRET
    if key_id in ROLE_KEYS:
        secret, token, expires = ROLE_KEYS[key_id]
        if headers.get("X-Amz-Security-Token") != token or time.time() > expires:
            raise Fault("RequestExpired", "Request has expired.", 400)
    elif key_id != KEY_ID:
        raise Fault("InvalidClientTokenId", "The security token included in the request is invalid", 403)
    canonical = "\n".join([method, path, ""] + ["%s:%s" % (h, " ".join(headers.get(h, "").split())) for h in signed.split(";")]
                          + ["", signed, hashlib.sha256(body).hexdigest()])
    when = headers["X-Amz-Date"]
    text = "\n".join(["AWS4-HMAC-SHA256", when, "%s/%s/%s/aws4_request" % (day, region, service),
                      hashlib.sha256(canonical.encode()).hexdigest()])
    if region != REGION or service != "ec2" or "host" not in signed.split(";") or not when.startswith(day):
        raise Fault("SignatureDoesNotMatch", "The scope is wrong", 403)
    if sign(secret, [day, region, service, "aws4_request"], text) != signature:
        raise Fault("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided", 403)


# ---- HTTP ----

SIM = None
TOKENS = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text, kind="text/xml;charset=UTF-8"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def metadata(self, instance, path):
        if path == "api/token" and self.command == "PUT":
            token = os.urandom(16).hex()
            TOKENS.add(token)
            return self.answer(200, token, "text/plain")
        if self.headers.get("X-aws-ec2-metadata-token") not in TOKENS:
            return self.answer(401, "", "text/plain")
        i = SIM.instances.get(instance)
        role = "meta-data/iam/security-credentials/"
        words = {"meta-data/instance-id": instance, "meta-data/placement/region": REGION, role: "cleat-node\n",
                 "meta-data/placement/availability-zone": i.zone if i else "", "meta-data/instance-type": i.type if i else ""}
        if path == role + "cleat-node":
            key_id, secret, token = "ASIA" + os.urandom(6).hex(), os.urandom(12).hex(), os.urandom(12).hex()
            expires = time.time() + SIM.knobs.key_seconds
            ROLE_KEYS[key_id] = (secret, token, expires)
            return self.answer(200, json.dumps({"Code": "Success", "AccessKeyId": key_id, "SecretAccessKey": secret, "Token": token,
                                                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))}), "text/plain")
        if not i or path not in words:
            return self.answer(404, "", "text/plain")
        return self.answer(200, words[path], "text/plain")

    def ec2(self, body):
        try:
            check_signature(self.command, self.path, self.headers, body)
            params = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True))
            self.answer(200, SIM.call(params))
        except Fault as f:
            self.answer(f.status, "<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r</RequestID></Response>"
                        % (f.code, escape(str(f))))
        except ConnectionError:
            self.close_connection = True

    def any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/sim/"):
            return self.answer(200, json.dumps(SIM.control(self.path[5:], json.loads(body or b"{}"))), "application/json")
        if self.path.startswith("/imds/"):
            instance, _, path = self.path[6:].partition("/latest/")
            return self.metadata(instance, path)
        return self.ec2(body)

    do_GET = do_POST = do_PUT = any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def read_instance(text):
    name, _, rest = text.partition("=")
    words = rest.split(",")
    i = Thing()
    i.folder, i.zone, i.type = words[0], words[1] if len(words) > 1 else "eu-test-1a", words[2] if len(words) > 2 else "m5.large"
    if i.folder:
        os.makedirs(i.folder + "/dev/disk/by-id", exist_ok=True)
        os.makedirs(i.folder + "/sys/block", exist_ok=True)
    return name, i


def main():
    global SIM
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--instance", action="append", default=[])
    args = parser.parse_args()
    os.makedirs(args.data, exist_ok=True)
    SIM = Sim(args.data, dict(read_instance(i) for i in args.instance))
    server = Server(("127.0.0.1", args.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    SIM.forget_everything()


if __name__ == "__main__":
    main()
