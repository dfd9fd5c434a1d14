#!/usr/bin/env python3
"""results.py: counts what ran, from what ctest and the test programs wrote.

    results.py RESULTS-DIR EXPECTED-SKIPS

RESULTS-DIR holds, per section, <section>.xml (JUnit, from ctest) or <section>.log with <section>.rc (a script's output and exit code).  A cmocka
program counts as its single tests, any other program as one.  Prints each failure and each skip with its reason, and at the end one line
"N passed, N failed, N skipped".  Exit code 1 when something failed, was skipped without being expected, or when nothing ran.

EXPECTED-SKIPS has lines "<pattern> <reason>"; the pattern (shell style) is for "<section>/<test>" or "<section>/<test>/<case>".
"""
import fnmatch
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

CASE = re.compile(r"^\[ +(OK|FAILED|SKIPPED|ERROR) +\] (\w+)\s*$", re.MULTILINE)
REASON = re.compile(r"(?:SKIPPED BECAUSE|[Ss]kip(?:ped)?): *(.+)")


def reason_in(output):
    """Why something was skipped: what was said last, in the usual words or else in any."""
    reasons = REASON.findall(output)
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("[")]
    return reasons[-1] if reasons else lines[-1].strip() if lines else "no reason given"


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []  # (name, reason)

    def add_cases(self, name, output):
        """Counts the cmocka tests in output: how many there were, how many of them failed."""
        found = CASE.findall(output)
        passed = sum(verdict == "OK" for verdict, _ in found)
        # Failures and skips are listed a second time at the end; "ERROR" is a set-up or tear-down that failed.
        failed = sorted({case for verdict, case in found if verdict in ("FAILED", "ERROR")})
        skipped = sorted({case for verdict, case in found if verdict == "SKIPPED"})
        self.passed += passed
        self.failed += [f"{name}/{case}" for case in failed]
        for case in skipped:
            # From where the test began to its verdict.
            until = output[: output.find(f"SKIPPED ] {case}")]
            self.skipped.append((f"{name}/{case}", reason_in(until[until.rfind("[ RUN ") :])))
        return passed + len(failed) + len(skipped), len(failed)

    def add(self, name, verdict, output):
        """verdict: pass, fail or skip, of the whole program."""
        count, failed = self.add_cases(name, output)
        if verdict == "skip":
            self.skipped.append((name, reason_in(output)))
        elif verdict == "fail" and failed == 0:
            self.failed.append(name)
        elif count == 0:
            self.passed += 1


def read_junit(tally, section, path):
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        output = "".join(e.text or "" for e in case.iter("system-out"))
        name = f"{section}/{case.get('name')}"
        status = case.get("status")
        if status == "notrun" or case.find("skipped") is not None:
            message = case.find("skipped").get("message", "") if case.find("skipped") is not None else ""
            # ctest says the same of a program that could not be started: that is a failure.
            tally.add(name, "skip" if "SKIP_RETURN_CODE" in message else "fail", output)
        else:
            tally.add(name, "pass" if status == "run" and case.find("failure") is None else "fail", output)


def read_log(tally, section, path):
    with open(path, encoding="utf-8", errors="replace") as f:
        output = f.read()
    with open(path[: -len(".log")] + ".rc", encoding="ascii") as f:
        rc = int(f.read())
    tally.add(section, {0: "pass", 77: "skip"}.get(rc, "fail"), output)


def read_expected(path):
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f]
    return [line.split(None, 1)[0] for line in lines if line and not line.startswith("#")]


def main():
    folder, expected_path = sys.argv[1:3]
    tally = Tally()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        section = name.rsplit(".", 1)[0]
        if name.endswith(".xml"):
            read_junit(tally, section, path)
        elif name.endswith(".log"):
            read_log(tally, section, path)
    expected = read_expected(expected_path)
    unexpected = [s for s in tally.skipped if not any(fnmatch.fnmatch(s[0], e) for e in expected)]
    for name in tally.failed:
        print(f"FAILED   {name}")
    for name, reason in tally.skipped:
        print(f"SKIPPED  {name}: {reason}" + (" (not expected)" if (name, reason) in unexpected else ""))
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or unexpected or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
