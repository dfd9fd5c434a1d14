#!/usr/bin/env python3
"""rooms_test: fails on any #include that goes against the arrows between the rooms of this tree, on engine code that names a backend
outside its registry, and on calls that no room may make.

    rooms_test.py [ROOT]

The rules are first tried on lines that break them, so that a rule that stopped seeing anything is noticed.
"""
import os
import re
import sys

BACKENDS_DIR = "core/backends"

# Room -> folders that its files may include from, as "folder/file.h" in quotes, and which public headers as <cleat/...>.  The room itself is
# always allowed.  More specific rooms come first.
ANY_PUBLIC = {"error.h", "record.h", "backend.h", "volume.h"}
DRIVER = {"error.h", "record.h", "backend.h"}
PLAIN = {"error.h", "record.h"}
GENERATED = {"*generated*"}  # may see what is made from proto/: *.pb-c.h and *.descset.h
ROOMS = [
    ("core/include", set(), ANY_PUBLIC),
    ("core/util", set(), PLAIN),
    ("core/sys", {"util"}, PLAIN),
    ("core/store", {"util", "sys"}, DRIVER),
    ("core/fs", {"util", "sys"}, DRIVER),
    ("core/layers", {"util", "sys"}, DRIVER),
    ("core/http", {"util"}, PLAIN),
    ("core/remote", {"util", "sys", "store"}, DRIVER),
    ("core/engine", {"util", "sys", "fs", "layers"}, ANY_PUBLIC),
    ("grpc/rt", {"util"} | GENERATED, {"error.h"}),
    ("grpc/service", {"util", "rt"} | GENERATED, ANY_PUBLIC),
    ("grpc/csi", {"util", "rt", "service"} | GENERATED, ANY_PUBLIC),
    ("grpc/cleatd", {"util", "rt", "service", "csi"} | GENERATED, ANY_PUBLIC),
    ("grpc/cli", {"util", "rt"} | GENERATED, {"error.h"}),
    ("grpc/doors", {"util", "rt", "cleatd"} | GENERATED, {"error.h"}),
    ("nomad/goplugin", {"util", "rt"} | GENERATED, {"error.h"}),
    ("nomad/driver/run", {"util", "sys", "driver"}, {"error.h", "record.h"}),
    ("nomad/driver", {"util", "rt", "goplugin"} | GENERATED, {"error.h", "record.h"}),
    ("nomad/dhv", {"util", "rt"} | GENERATED, {"error.h"}),
    ("mesos/helper", {"util", "rt", "doors", "module"} | GENERATED, {"error.h"}),
    ("mesos/module", {"util"}, {"error.h"}),  # inside an agent: no gRPC, no messages
    ("mesos/compat", {"module"}, set()),
    ("docker/dvdcli", {"util", "rt", "doors"} | GENERATED, {"error.h"}),
    ("docker", {"util", "rt", "doors"} | GENERATED, {"error.h"}),
]
FREE = ("tests", "bench", "examples")  # may look everywhere

# Calls without a place in any room: no shell, no unbounded copies.
BANNED = re.compile(r"(?<![\w.>])(system|popen|strcpy|strcat|sprintf|vsprintf|gets|alloca|tmpnam|mktemp)\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def room_of(path):
    """(room, folders it may include, public headers it may include), or None for files that are in no room."""
    if path.startswith(BACKENDS_DIR + "/"):
        name = path.split("/")[2]
        return (f"{BACKENDS_DIR}/{name}", {"util", "sys", "store", "fs", "http", "remote"}, DRIVER)
    for room, folders, public in ROOMS:
        if path.startswith(room + "/"):
            return (room, folders, public)
    return None


def check_include(path, line):
    """What is wrong with this line of the file at path, or None."""
    m = INCLUDE.match(line)
    room = room_of(path)
    if not m or room is None:
        return None
    quote, name = m.groups()
    if quote == "<":
        if name.startswith("cleat/") and name[6:] not in room[2]:
            return f"{room[0]} may not see <{name}>"
        return None
    if ".." in name.split("/"):
        return f'"{name}" climbs out of its folder'
    folder = os.path.dirname(name)
    own = room[0].split("/", 1)[1] if "/" in room[0] else room[0]
    if folder == "" or folder == own or folder.startswith(own + "/"):
        return None
    if name.endswith((".pb-c.h", ".descset.h")) and GENERATED <= room[1]:
        return None
    if any(folder == f or folder.startswith(f + "/") for f in room[1]):
        return None
    return f'{room[0]} may not see "{name}"'


def check_code(path, line, backends):
    """Backend names in the engine, and banned calls."""
    code = re.sub(r"/\*.*?\*/|//.*", "", line)
    if path.startswith("core/engine/") and os.path.basename(path) != "registry.c":
        for b in backends:
            if f'"{b}"' in code or re.search(rf"\bcleat_backend_{b}\b", code):
                return f"the engine names backend '{b}' outside its registry"
    if room_of(path) and not line.lstrip().startswith("*"):
        m = BANNED.search(re.sub(r'"(\\.|[^"\\])*"', '""', code))
        if m:
            return f"{m.group(1)}() has no place here"
    return None


def self_test():
    bad = [
        ("core/util/a.c", '#include "sys/file.h"'),
        ("core/util/a.c", "#include <cleat/volume.h>"),
        ("core/sys/a.c", '#include "store/pooldir.h"'),
        ("core/fs/a.c", '#include "backends/loop/loop.h"'),
        ("core/backends/loop/a.c", '#include "engine/engine.h"'),
        ("core/backends/loop/a.c", '#include "backends/dir/dir.h"'),
        ("core/backends/loop/a.c", "#include <cleat/volume.h>"),
        ("core/backends/loop/a.c", '#include "../dir/dir.h"'),
        ("core/layers/a.c", '#include "engine/engine.h"'),
        ("core/layers/a.c", '#include "http/http.h"'),
        ("core/http/a.c", '#include "sys/file.h"'),
        ("core/engine/a.c", '#include "backends/loop/loop.h"'),
        ("core/engine/a.c", '#include "rt/server.h"'),
        ("grpc/rt/a.c", "#include <cleat/volume.h>"),
        ("grpc/rt/a.c", '#include "service/service.h"'),
        ("grpc/service/a.c", '#include "sys/mount.h"'),
        ("grpc/cli/a.c", '#include "engine/engine.h"'),
        ("core/engine/a.c", '#include "cleat/v1/volumes.pb-c.h"'),
        ("mesos/module/a.c", '#include "rt/client.h"'),
        ("mesos/module/a.c", '#include "cleat/v1/volumes.pb-c.h"'),
        ("mesos/module/a.c", '#include "compat/mesos.hpp"'),
        ("mesos/compat/a.cpp", '#include "util/buf.h"'),
    ]
    good = [
        ("core/backends/loop/a.c", '#include "backends/loop/internal.h"'),
        ("core/backends/loop/a.c", '#include "store/pooldir.h"'),
        ("core/engine/a.c", '#include "fs/fs.h"'),
        ("grpc/service/a.c", '#include "cleat/v1/volumes.pb-c.h"'),
        ("tests/unit/a.c", '#include "engine/engine.h"'),
        ("mesos/compat/a.cpp", '#include "module/module.h"'),
    ]
    for path, line in bad:
        assert check_include(path, line), f"not seen: {path}: {line}"
    for path, line in good:
        assert not check_include(path, line), f"wrongly refused: {path}: {line}"
    assert check_code("core/engine/a.c", 'if (strcmp(b, "loop") == 0)', ["loop"])
    assert check_code("core/engine/a.c", "x = &cleat_backend_loop;", ["loop"])
    assert not check_code("core/engine/registry.c", "x = &cleat_backend_loop;", ["loop"])
    assert check_code("core/sys/a.c", "\tsystem(line);", [])
    assert not check_code("core/sys/a.c", "\tfile_system(line); s->system(x);", [])
    return len(bad) + len(good) + 5


def sources(root):
    for top in ("core", "grpc", "nomad", "mesos", "docker"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h", ".cc", ".cpp", ".hpp")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    tried = self_test()
    folder = os.path.join(root, BACKENDS_DIR)
    backends = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    files = wrong = 0
    for path in sources(root):
        files += 1
        if room_of(path) is None:
            print(f"{path}: this folder is no room: add it to rooms_test.py")
            wrong += 1
        with open(os.path.join(root, path), encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                for text in (check_include(path, line), check_code(path, line, backends)):
                    if text:
                        print(f"{path}:{number}: {text}")
                        wrong += 1
    print(f"{files} files, {wrong} faults; {tried} rules tried")
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main())
