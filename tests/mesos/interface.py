#!/usr/bin/env python3
"""Real message classes of Mesos, from the package mesos.interface: its Python code holds the descriptor of mesos.proto.

    interface.py DIR VERSION...                                  DIR/<version>/mesos.pb for each; exit 77 when the package cannot be had
    interface.py --join PROTOC MESOS.pb FOLDER PROTO... OUT.pb   MESOS.pb and the descriptors of PROTO in FOLDER, which import mesos.proto
"""
import ast
import glob
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def python_code(version, folder):
    """The text of mesos_pb2.py of one version."""
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
                           "-d", folder, f"mesos.interface=={version}"], capture_output=True, text=True)
    for path in glob.glob(f"{folder}/mesos*interface-{version}*"):
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as z:
                return next(z.read(n).decode() for n in z.namelist() if n.endswith("mesos_pb2.py"))
        with tarfile.open(path) as t:
            return next(t.extractfile(m).read().decode() for m in t.getmembers() if m.name.endswith("mesos_pb2.py"))
    print(f"mesos.interface {version} cannot be had: {done.stderr.strip()[-300:]}")
    sys.exit(77)


def descriptor(code):
    """The serialized FileDescriptorProto: one literal, of one byte for each character.  Its first field is the file's name, which becomes
    the one that other files import."""
    m = re.search(r"serialized_pb\s*=\s*(?:_b\()?('(?:\\.|[^'\\])*')", code, re.S)
    data = ast.literal_eval(m.group(1)).encode("latin-1")
    if data[0] != 1 << 3 | 2:
        sys.exit("the descriptor does not begin with a name")
    return field(1, b"mesos/mesos.proto") + data[2 + data[1]:]


def get(folder, versions):
    for version in versions:
        with tempfile.TemporaryDirectory() as scratch:
            found = descriptor(python_code(version, scratch))
        os.makedirs(f"{folder}/{version}", exist_ok=True)
        with open(f"{folder}/{version}/mesos.pb", "wb") as f:
            f.write(field(1, found))


def join(protoc, mesos, folder, protos, out):
    """protoc reads an import from a descriptor or from a file, not from both: so here it is given a file with the messages' names only, and
    what it makes of the files that import it is put behind the real descriptor."""
    with tempfile.TemporaryDirectory() as scratch:
        os.makedirs(f"{scratch}/mesos")
        with open(f"{scratch}/mesos/mesos.proto", "w", encoding="ascii") as f:
            f.write('syntax = "proto2";\npackage mesos;\n')
            for name in sorted(top_messages(mesos)):
                f.write(f"message {name} {{}}\n")
        subprocess.run([protoc, f"-I{scratch}", f"-I{folder}", f"--descriptor_set_out={scratch}/made.pb", *protos], check=True)
        with open(mesos, "rb") as first, open(f"{scratch}/made.pb", "rb") as second, open(out, "wb") as joined:
            joined.write(first.read() + second.read())


def top_messages(path):
    """Names of the messages of the one file in a FileDescriptorSet."""
    with open(path, "rb") as f:
        data = f.read()
    for number, file in fields(data):
        for inner, message in fields(file):
            if inner == 4:
                yield next(value.decode() for n, value in fields(message) if n == 1)


def fields(data):
    """(number, bytes) of each length-delimited field of a message."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 2:
            n, at = read_varint(data, at)
            yield key >> 3, data[at:at + n]
            at += n
        else:
            _, at = read_varint(data, at)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


if sys.argv[1] == "--join":
    join(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:-1], sys.argv[-1])
else:
    get(sys.argv[1], sys.argv[2:])
