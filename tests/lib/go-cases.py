#!/usr/bin/env python3
"""Reads what `go test -json` writes, and says of each test that has none below it what cmocka would, so that results.py counts it.  What a
test says is shown when it did not pass.

    go test -json ./... | tests/lib/go-cases.py

Exit code 1 when something failed, or when nothing ran.
"""
import json
import re
import sys

BANNERS = {"pass": "[       OK ]", "fail": "[  FAILED  ]", "skip": "[  SKIPPED ]"}


def main():
    parents, counts, others_failed, said = set(), dict.fromkeys(BANNERS, 0), False, {}
    for line in sys.stdin:
        if not line.startswith("{"):  # what the compiler says
            print(line, end="", flush=True)
            continue
        event = json.loads(line)
        action, test = event["Action"], event.get("Test")
        if action == "output" and test:
            said.setdefault(test, []).append(event["Output"])
        elif action in ("output", "build-output"):
            print(event["Output"], end="", flush=True)
        elif action == "run" and "/" in test:
            parents.add(test.rsplit("/", 1)[0])
        elif action in BANNERS and test and test not in parents:
            counts[action] += 1
            if action != "pass":
                print("".join(said.get(test, [])), end="")
            print(f"{BANNERS[action]} {re.sub(r'[^A-Za-z0-9_]', '_', test)}", flush=True)
        elif action in ("fail", "build-fail"):  # a package, or a test by what is around its sub-tests
            others_failed = True
            print("".join(said.get(test, [])), end="")
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if others_failed or counts["fail"] or not counts["pass"] else 0


if __name__ == "__main__":
    sys.exit(main())
