#!/usr/bin/env python3
"""kubernetes_test: the manifests in examples/kubernetes are what they say, without a Kubernetes: YAML that parses, objects that name each
other rightly, one driver name and one socket everywhere, flags that belong together; and a configuration that cleatd takes.

    kubernetes_test.py ROOT CLEATD

Where the Python package kubernetes_validate is installed, objects are also held against Kubernetes' own schemas.
"""
import glob
import os
import re
import subprocess
import sys

try:
    import yaml
except ImportError:
    print("skipped: no python3-yaml")
    sys.exit(77)
try:
    import kubernetes_validate
except ImportError:
    kubernetes_validate = None

SCHEMA = "1.34"
PODS = {"DaemonSet", "Deployment", "StatefulSet"}
CLUSTER_WIDE = {"Namespace", "CSIDriver", "ClusterRole", "ClusterRoleBinding", "StorageClass", "VolumeSnapshotClass"}
# Of the sidecars, by the last part of the image's name: flags without which they would do the wrong thing here.
FLAGS = {
    "csi-node-driver-registrar": ["--csi-address=", "--kubelet-registration-path="],
    "csi-provisioner": ["--csi-address=", "--node-deployment=true", "--node-deployment-immediate-binding=false", "--strict-topology=true",
                        "--immediate-topology=false", "--enable-capacity"],
    "csi-snapshotter": ["--csi-address=", "--node-deployment=true"],
    "csi-resizer": ["--csi-address=", "--leader-election", "--feature-gates=VolumeAttributesClass=false"],
    "livenessprobe": ["--csi-address=", "--health-port="],
}
ENVIRONMENT = {"csi-provisioner": {"NODE_NAME", "NAMESPACE", "POD_NAME"}, "csi-snapshotter": {"NODE_NAME"}}

faults = []


def fault(where, text):
    faults.append(f"{where}: {text}")


def load(folder):
    """[(file, object)] of all manifests."""
    out = []
    for path in sorted(glob.glob(os.path.join(folder, "*.yaml"))):
        with open(path, encoding="utf-8") as f:
            for one in yaml.safe_load_all(f):
                out.append((os.path.basename(path), one))
    return out


def check_shape(where, o):
    for key in ("apiVersion", "kind"):
        if not isinstance(o.get(key), str):
            fault(where, f"no {key}")
    name = o.get("metadata", {}).get("name", "")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        fault(where, f"'{name}' is no name")
    if o.get("kind") in CLUSTER_WIDE and "namespace" in o["metadata"]:
        fault(where, f"{o['kind']} has no namespace")
    if kubernetes_validate:
        try:
            kubernetes_validate.validate(o, SCHEMA, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            if "snapshot" not in o["apiVersion"]:
                fault(where, f"Kubernetes {SCHEMA} has no {o['apiVersion']} {o['kind']}")
        except kubernetes_validate.ValidationError as e:
            fault(where, f"{o['kind']} {name}: {e}")


def names_of(objects, kind):
    return {(o["metadata"].get("namespace"), o["metadata"]["name"]) for _, o in objects if o["kind"] == kind}


def check_references(objects):
    accounts, roles, cluster_roles = (names_of(objects, k) for k in ("ServiceAccount", "Role", "ClusterRole"))
    spaces = {n for _, n in names_of(objects, "Namespace")}
    for where, o in objects:
        space = o["metadata"].get("namespace")
        if space and space not in spaces:
            fault(where, f"there is no namespace '{space}'")
        if o["kind"].endswith("RoleBinding"):
            ref = o["roleRef"]
            wanted = (None, ref["name"]) if ref["kind"] == "ClusterRole" else (space, ref["name"])
            if wanted not in (cluster_roles if ref["kind"] == "ClusterRole" else roles):
                fault(where, f"there is no {ref['kind']} '{ref['name']}'")
            for s in o["subjects"]:
                if (s["namespace"], s["name"]) not in accounts:
                    fault(where, f"there is no ServiceAccount '{s['name']}'")
        if o["kind"] in PODS:
            spec = o["spec"]["template"]["spec"]
            account = spec.get("serviceAccountName")
            if account and (space, account) not in accounts:
                fault(where, f"there is no ServiceAccount '{account}'")
            labels, selector = o["spec"]["template"]["metadata"]["labels"], o["spec"]["selector"]["matchLabels"]
            if any(labels.get(k) != v for k, v in selector.items()):
                fault(where, "the selector does not select its own pods")


def check_rules(objects):
    """No account may read secrets, write nodes, or do anything at all."""
    for where, o in objects:
        for rule in o.get("rules", []) if o["kind"].endswith("Role") else []:
            if "*" in rule["verbs"] + rule["resources"] + rule["apiGroups"] or "secrets" in rule["resources"]:
                fault(where, f"{o['metadata']['name']} may do too much: {rule}")


def images(objects):
    """(file, container, image's short name, pod spec) of every container."""
    for where, o in objects:
        if o["kind"] in PODS:
            spec = o["spec"]["template"]["spec"]
            for c in spec["containers"]:
                yield where, c, c["image"].rsplit("/", 1)[-1].split(":")[0], spec


def check_containers(objects, socket):
    seen = set()
    for where, c, image, spec in images(objects):
        if ":" not in c["image"] or c["image"].endswith(":latest"):
            fault(where, f"{c['name']}: the image has no version")
        volumes = {v["name"] for v in spec.get("volumes", [])}
        volumes |= {v["metadata"]["name"] for _, o in objects if o["kind"] in PODS for v in o["spec"].get("volumeClaimTemplates", [])}
        for m in c.get("volumeMounts", []):
            if m["name"] not in volumes:
                fault(where, f"{c['name']}: there is no volume '{m['name']}'")
        if image not in FLAGS:
            continue
        seen.add(image)
        args = c.get("args", [])
        for flag in FLAGS[image]:
            if not any(a == flag or (flag.endswith("=") and a.startswith(flag)) for a in args):
                fault(where, f"{image} lacks {flag}")
        missing = ENVIRONMENT.get(image, set()) - {e["name"] for e in c.get("env", [])}
        if missing:
            fault(where, f"{image} lacks in its environment: {', '.join(sorted(missing))}")
        check_socket(where, c, image, spec, socket)
    for image in set(FLAGS) - seen:
        fault("examples/kubernetes", f"nothing runs {image}")


def check_socket(where, c, image, spec, socket):
    """What the container takes for the socket is the daemon's."""
    args = dict(a.split("=", 1) for a in c["args"] if "=" in a)
    hosts = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    inside = args.get("--csi-address", "")
    for m in c["volumeMounts"]:
        if inside.startswith(m["mountPath"] + "/"):
            real = hosts.get(m["name"], "?") + inside[len(m["mountPath"]):]
            if real != socket:
                fault(where, f"{image} looks at '{real}', but the daemon listens on '{socket}'")
            break
    else:
        fault(where, f"{image}: '{inside}' is on no mount")
    if args.get("--kubelet-registration-path", socket) != socket:
        fault(where, f"{image}: kubelet would look elsewhere than on '{socket}'")


def check_driver(objects, driver, conf):
    described = [o for _, o in objects if o["kind"] == "CSIDriver"]
    if [o["metadata"]["name"] for o in described] != [driver]:
        fault("csidriver.yaml", f"is not that of '{driver}'")
    for where, o in objects:
        name = o.get("provisioner") or o.get("driver")
        if name and name != driver:
            fault(where, f"'{name}' is not the driver's name, '{driver}'")
        if o["kind"] == "StorageClass":
            if o["volumeBindingMode"] != "WaitForFirstConsumer":
                fault(where, "a local volume is made before anybody knows for which node")
            if o["parameters"].get("pool", "default") not in conf["pools"]:
                fault(where, f"the daemon has no pool '{o['parameters']['pool']}'")
    attach = conf["csi"].get("attach", True)
    if described and described[0]["spec"]["attachRequired"] != attach:
        fault("csidriver.yaml", f"attachRequired does not go with csi.attach: {attach}")
    if conf["csi"].get("stage", True):
        fault("cleatd.conf", "kubelet never unstages: csi.stage must be false")
    if any(o.get("allowVolumeExpansion") for _, o in objects) and not conf["csi"].get("node_expand"):
        fault("cleatd.conf", "the resizer needs csi.node_expand")


def check_configuration(path, cleatd):
    with open(path, encoding="utf-8") as f:
        conf = yaml.safe_load(f)
    run = subprocess.run([cleatd, "--config", path, "--check-config"], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        fault(path, f"cleatd does not take it: {run.stdout}{run.stderr}")
    names = re.search(r"csi\.driver_name.*?default (\S+)", subprocess.run([cleatd, "--help-config"], capture_output=True, text=True, timeout=60).stdout,
                      re.S)
    return conf, conf["csi"].get("driver_name", names.group(1))


def self_test(objects):
    """Takes the manifests apart and sees whether that is noticed."""
    import copy

    def broken(change, check):
        mine = copy.deepcopy(objects)
        change({(o["kind"], o["metadata"]["name"]): o for _, o in mine})
        check(mine)
        found, faults[:] = len(faults), []
        assert found, f"not seen: {change.__name__}"

    def wrong_account(by):
        by["DaemonSet", "cleat-node"]["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"

    def wrong_role(by):
        by["RoleBinding", "cleat-node"]["roleRef"]["name"] = "none"

    def wrong_rule(by):
        by["ClusterRole", "cleat-node"]["rules"][0]["resources"] = ["secrets"]

    def wrong_path(by):
        by["DaemonSet", "cleat-node"]["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"] = "/run"

    def wrong_flag(by):
        by["Deployment", "cleat-resizer"]["spec"]["template"]["spec"]["containers"][0]["args"].pop()

    before, faults[:] = list(faults), []
    broken(wrong_account, check_references)
    broken(wrong_role, check_references)
    broken(wrong_rule, check_rules)
    broken(wrong_path, lambda o: check_containers(o, "/var/lib/kubelet/plugins/csi.cleat/csi.sock"))
    broken(wrong_flag, lambda o: check_containers(o, "/var/lib/kubelet/plugins/csi.cleat/csi.sock"))
    faults[:] = before


def main():
    root, cleatd = sys.argv[1:3]
    folder = os.path.join(root, "examples/kubernetes")
    objects = load(folder)
    for where, o in objects:
        check_shape(where, o)
    conf, driver = check_configuration(os.path.join(folder, "cleatd.conf"), cleatd)
    check_references(objects)
    check_rules(objects)
    check_containers(objects, conf["csi"]["socket"])
    check_driver(objects, driver, conf)
    self_test(objects)
    for text in faults:
        print(text)
    print(f"{len(objects)} objects, {len(faults)} faults; schemas {'of Kubernetes ' + SCHEMA if kubernetes_validate else 'not at hand'}")
    return 1 if faults or len(objects) < 15 else 0


if __name__ == "__main__":
    sys.exit(main())
