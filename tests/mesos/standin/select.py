#!/usr/bin/env python3
"""select.py VERSION < mesos.proto.in > mesos.proto: the lines that are there in one release of Mesos.

A line that ends in `// [1.1-]` is there from 1.1 on, one that ends in `// [-1.2]` up to all of 1.2.x; others are always there.
"""
import re
import sys


def number(text):
    return [int(part) for part in text.split(".")[:2]]


def has(line, version):
    m = re.search(r"// \[([\d.]*)-([\d.]*)\]$", line)
    return not m or (not m[1] or number(version) >= number(m[1])) and (not m[2] or number(version) <= number(m[2]))


for text in sys.stdin.read().splitlines():
    if has(text, sys.argv[1]):
        print(re.sub(r" *// \[.*\]$", "", text))
