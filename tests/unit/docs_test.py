#!/usr/bin/env python3
"""docs_test: what the guides say of this tree is so.  Links between Markdown files lead somewhere, with their anchors; paths of the tree in
code spans exist; every guide can be reached from README.md; the keys of the daemon that guides name exist, and the guide of CSI has all of its.

    docs_test.py [ROOT]

The rules are first tried on text that breaks them, so that a rule that stopped seeing anything is noticed.
"""
import os
import re
import sys

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
# Not mesos: headers of Mesos itself are called mesos/... as well.
TOPS = "bench cmake core docker docs examples grpc nomad packaging proto tests".split()
NO_PATHS = {"docker/volume"}  # an isolator of Mesos
# Keys that guides write with their section, and what looks like one.
SECTIONS = "socket log listen csi".split()
NO_KEYS = {"csi.cleat", "csi.sock", "csi.proto"}
MADE_BY_BUILDS = ("build", "build-")  # their files are not those of the tree


def without_code(text):
    """The text with fenced and indented blocks blanked, line by line; code spans stay."""
    out, fence = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            fence = not fence
            line = ""
        out.append("" if fence or line.startswith("    ") else line)
    return "\n".join(out)


def slug(heading):
    """The anchor that GitHub and others make of a heading."""
    text = re.sub(r"`|\[([^\]]*)\]\([^)]*\)", lambda m: m.group(1) or "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text):
    found, count = set(), {}
    for line in without_code(text).split("\n"):
        m = re.match(r"#{1,6} (.*)", line)
        if m:
            s = slug(m.group(1))
            found.add(f"{s}-{count[s]}" if s in count else s)
            count[s] = count.get(s, 0) + 1
    return found


def faults_of_links(path, text, read):
    """read(path) is the text of a file of the tree, "" for a folder, None for nothing."""
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", without_code(text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        where = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        there = text if where == path else read(where)
        if there is None:
            yield f"{path}: the link '{target}' leads nowhere"
        elif anchor and anchor not in anchors(there):
            yield f"{path}: the link '{target}': there is no such heading"


def faults_of_paths(path, text, exists):
    for span in SPAN.findall(without_code(text)):
        if not re.fullmatch(r"[\w./-]+", span) or span.split("/")[0] not in TOPS or "/" not in span or span in NO_PATHS:
            continue
        if not exists(span) and not exists(os.path.join(os.path.dirname(path), span)):
            yield f"{path}: '{span}' does not exist"


def keys_in(text):
    """Of keys.c: {"csi.socket", ...}."""
    return set(re.findall(r'^\s*\{ "([a-z_.]+)",', text, re.M))


def faults_of_keys(path, text, keys):
    for span in SPAN.findall(text):
        m = re.fullmatch(r"([a-z]+)\.([a-z_]+)", span)
        if m and m.group(1) in SECTIONS and span not in keys | NO_KEYS and m.group(2) not in ("c", "h", "md"):
            yield f"{path}: the daemon has no key '{span}'"


def faults_of_completeness(path, text, keys, section):
    for key in sorted(k for k in keys if k.startswith(section + ".")):
        if f"`{key}`" not in text:
            yield f"{path}: does not tell of the key '{key}'"


def unreachable(start, texts):
    """Pages that no chain of links from start leads to."""
    seen, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path in seen or path not in texts:
            continue
        seen.add(path)
        for target in LINK.findall(without_code(texts[path])):
            name = target.partition("#")[0]
            if name and not re.match(r"[a-z]+:", name):
                where = os.path.normpath(os.path.join(os.path.dirname(path), name))
                todo.append(where)
                todo += [p for p in texts if os.path.dirname(p) == where]  # a link to a folder is one to its pages
    return sorted(set(texts) - seen)


def self_test():
    there = {"a.md": "# A b: `c`\n## A b: `c`\n", "dir": ""}
    good = "[x](a.md#a-b-c) [x](a.md#a-b-c-1) [x](#here) [x](http://h/x) `[x](no.md)`\n\n    [x](no.md)\n\n# Here\n"
    assert not list(faults_of_links("b.md", good, there.get))
    for bad in ("[x](no.md)", "[x](a.md#no)", "[x](#no)", "[x](../a.md)"):
        assert list(faults_of_links("b.md", bad, there.get)), bad
    assert list(faults_of_paths("b.md", "`docs/no.md`", lambda p: False))
    assert not list(faults_of_paths("b.md", "`docs/a.md` `x/y` `docs/<x>`", lambda p: p == "docs/a.md"))
    keys = keys_in('\t{ "csi.socket", X },\n\t{ "node", X },\n')
    assert keys == {"csi.socket", "node"}
    assert list(faults_of_keys("b.md", "`csi.no`", keys)) and not list(faults_of_keys("b.md", "`csi.socket` `csi.h`", keys))
    assert list(faults_of_completeness("b.md", "", keys, "csi"))
    assert unreachable("a.md", {"a.md": "[x](b.md)", "b.md": "", "c.md": ""}) == ["c.md"]
    return 12


def pages(root):
    for folder, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if not d.startswith((".",) + MADE_BY_BUILDS)]
        for name in files:
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), root)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "..")
    tried = self_test()

    def read(path):
        full = os.path.join(root, path)
        if os.path.isdir(full):
            return ""
        if not os.path.isfile(full) or path.startswith(".."):
            return None
        with open(full, encoding="utf-8", errors="replace") as f:
            return f.read()

    texts = {path: read(path) for path in pages(root)}
    keys = keys_in(read("grpc/cleatd/keys.c"))
    faults = []
    for path, text in sorted(texts.items()):
        faults += faults_of_links(path, text, read)
        faults += faults_of_paths(path, text, lambda p: os.path.exists(os.path.join(root, p)))
        faults += faults_of_keys(path, text, keys)
    faults += faults_of_completeness("docs/csi.md", texts.get("docs/csi.md", ""), keys, "csi")
    faults += [f"{p}: no link leads there from README.md" for p in unreachable("README.md", texts) if p.startswith("docs/")]
    for text in faults:
        print(text)
    print(f"{len(texts)} pages, {len(keys)} keys, {len(faults)} faults; {tried} rules tried")
    return 1 if faults or len(texts) < 10 or len(keys) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
