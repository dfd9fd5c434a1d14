#!/usr/bin/env python3
"""mesos_examples_test: the files in examples/mesos, and the guide, are what the code takes: JSON that parses; a list of modules whose names
and parameters the module has; environment variables that it reads; the endpoint as Mesos must have it; one plugin name everywhere; every
parameter and variable in docs/mesos.md.

    mesos_examples_test.py ROOT [DVDCLI]

With dvdcli, the table of drivers is read by the code that takes it.
"""
import glob
import json
import os
import re
import subprocess
import sys

EXPECTED = {
    "modules.json", "csi/csi.cleat.json", "csi/task.json", "marathon/dvdi.json", "marathon/environment.json", "marathon/external.json",
    "marathon/volume.json", "marathon/csi.json",
}
faults = []


def fault(text):
    faults.append(text)


def no_repeats(pairs):
    """A JSON object in which no key comes twice."""
    keys = [k for k, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"a key comes twice: {keys}")
    return dict(pairs)


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8") as f:
        return f.read()


def parse_all(folder):
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "**", "*.json"), recursive=True)):
        name = os.path.relpath(path, folder)
        try:
            found[name] = json.loads(read(folder, name), object_pairs_hook=no_repeats)
        except ValueError as e:
            fault(f"{name}: {e}")
    for name in sorted(EXPECTED - set(found)):
        fault(f"{name} is missing, or no JSON")
    return found


def words_of(source, array):
    """The texts of a table in C that begin its rows: {"helper", ...}."""
    table = re.search(array + r"\[\w*\] = \{(.*?)\n\};", source, re.S)
    assert table, f"no table {array}"
    return set(re.findall(r'^\s*(?:\[\w+\] = |\{ )"(\w+)"', table.group(1), re.M))


def check_modules(modules, parameters):
    libraries = modules["libraries"]
    assert libraries and set(modules) == {"libraries"}
    for library in libraries:
        if not re.fullmatch(r"/.*/libcleat_mesos-\d+\.\d+\.\d+\.so", library["file"]):
            fault(f"modules.json: '{library['file']}' is no library of ours")
        for module in library["modules"]:
            if module["name"] != "org_cleat_VolumeIsolator":
                fault(f"modules.json: module '{module['name']}'")
            for p in module["parameters"]:
                if set(p) != {"key", "value"} or p["key"] not in parameters or not isinstance(p["value"], str):
                    fault(f"modules.json: parameter {p}")


def variable_known(name, words):
    m = re.fullmatch(r"(DVDI|CLEAT)_VOLUME_([A-Z]+)[0-9]?", name)
    if not m or m.group(2) not in words:
        return False
    ours = {"POOL", "SIZE", "FS", "MODE"}
    return m.group(2) not in (ours if m.group(1) == "DVDI" else {"DRIVER", "DVDCLI"})


def check_app(name, app, words, plugin):
    strategy = app.get("upgradeStrategy")
    if strategy != {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}:
        fault(f"{name}: Marathon refuses a volume without its upgradeStrategy")
    if not app["id"].startswith("/") or app["instances"] != 1 or "cmd" not in app:
        fault(f"{name}: id, instances or cmd")
    environment = app.get("env", {})
    volumes = app.get("container", {}).get("volumes", [])
    if not volumes and not any(v.endswith("_VOLUME_NAME") for v in environment):
        fault(f"{name}: asks for no volume")
    for variable, value in environment.items():
        if not variable_known(variable, words) or not isinstance(value, str):
            fault(f"{name}: variable {variable}")
    if volumes and app["container"]["type"] != "MESOS":
        fault(f"{name}: volumes are for the Mesos containerizer")
    for v in volumes:
        if v["mode"] not in ("RW", "RO") or "/" in v["containerPath"]:
            fault(f"{name}: mode or container path of {v}")
        external = v["external"]
        if external["provider"] == "csi":
            if external["options"]["pluginName"] != plugin or external["options"]["capability"]["accessType"] != "mount":
                fault(f"{name}: {external['options']}")
        elif external["provider"] != "dvdi" or "dvdi/driver" not in external["options"]:
            fault(f"{name}: {external}")


def check_csi(config, task, driver_name):
    if config["type"] != driver_name:
        fault(f"csi.cleat.json: type '{config['type']}' is not csi.driver_name, '{driver_name}'")
    if "containers" in config or not config["endpoints"]:
        fault("csi.cleat.json: endpoints, and no containers")
    for e in config["endpoints"]:
        if e["csi_service"] != "NODE_SERVICE" or not re.match(r"unix:///[a-z]", e["endpoint"]):
            fault(f"csi.cleat.json: {e}")  # with a bare path Mesos probes for ever
    if not config["target_path_root"].startswith("/"):
        fault("csi.cleat.json: target_path_root")
    for v in task["container"]["volumes"]:
        csi = v["source"]["csi_volume"]
        provisioning = csi["static_provisioning"]
        if csi["plugin_name"] != config["type"] or v["source"]["type"] != "CSI_VOLUME":
            fault("task.json: the plugin's name")
        if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", provisioning["volume_id"]):
            fault("task.json: volume_id")
        if provisioning["volume_capability"]["access_mode"]["mode"] != "SINGLE_NODE_WRITER":
            fault("task.json: access_mode")


def check_env(name, text, isolation, more):
    values = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    got = values.get("MESOS_ISOLATION", "").split(",")
    if got != ["filesystem/linux", isolation]:
        fault(f"{name}: MESOS_ISOLATION is {got}")
    for key, value in more.items():
        if values.get(key) != value:
            fault(f"{name}: {key} is {values.get(key)}")


def check_guide(guide, parameters, words, examples):
    for key in sorted(parameters):
        if f"| `{key}` |" not in guide:
            fault(f"docs/mesos.md: parameter '{key}' is not in its table")
    for word in sorted(words - {"DRIVER", "DVDCLI"}):
        if f"`CLEAT_VOLUME_{word}`" not in guide:
            fault(f"docs/mesos.md: CLEAT_VOLUME_{word} is not told of")
    for word in sorted(words - {"POOL", "SIZE", "FS", "MODE"}):
        if f"`DVDI_VOLUME_{word}`" not in guide:
            fault(f"docs/mesos.md: DVDI_VOLUME_{word} is not told of")
    for name in sorted(examples):
        if f"examples/mesos/{name}" not in guide:
            fault(f"docs/mesos.md: {name} is not told of")


def check_table(folder, dvdcli):
    run = subprocess.run([dvdcli, "get", "--volumedriver=rexray", "--volumename=x", "--timeout=1", "--socket=/nonexistent/socket",
                          "--config=" + os.path.join(folder, "drivers.conf")], capture_output=True, text=True, check=False)
    if run.returncode != 1 or "no daemon at '/nonexistent/socket'" not in run.stderr:
        fault(f"drivers.conf: {run.stderr}")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    folder = os.path.join(root, "examples", "mesos")
    parameters = words_of(read(root, "mesos/module/settings.c"), "cleat_mesos_parameters")
    words = words_of(read(root, "mesos/module/wishes.c"), "words")
    assert {"helper", "socket", "root"} <= parameters and {"NAME", "DVDCLI", "MODE"} <= words, (parameters, words)
    driver_name = re.search(r'"csi.driver_name", [^"]*"([^"]+)"', read(root, "grpc/cleatd/keys.c")).group(1)
    found = parse_all(folder)
    if not faults:
        check_modules(found["modules.json"], parameters)
        check_csi(found["csi/csi.cleat.json"], found["csi/task.json"], driver_name)
        for name, app in found.items():
            if name.startswith("marathon/"):
                check_app(name, app, words, driver_name)
        if len({found[n]["id"] for n in found if n.startswith("marathon/")}) != 5:
            fault("marathon/: two applications have one id")
    check_env("agent/module.env", read(folder, "agent/module.env"), "org_cleat_VolumeIsolator",
              {"MESOS_MODULES": "file:///etc/mesos/modules.json", "MESOS_LAUNCHER": "linux"})
    check_env("agent/dvdcli.env", read(folder, "agent/dvdcli.env"), "docker/volume", {"MESOS_LAUNCHER": "linux"})
    check_env("agent/csi.env", read(folder, "agent/csi.env"), "volume/csi", {"MESOS_CSI_PLUGIN_CONFIG_DIR": "/etc/mesos/csi"})
    check_guide(read(root, "docs/mesos.md"), parameters, words, EXPECTED - {"csi/task.json"} | {"drivers.conf", "agent/cleat.conf"})
    if len(sys.argv) > 2:
        check_table(folder, sys.argv[2])
    for text in faults:
        print(text)
    print(f"{len(found)} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
