"""cases.py - runs unittest cases and says of each what cmocka would, so that results.py counts each as a test of its own.

    import cases; cases.main(argv)         instead of unittest.main(argv=argv)
"""
import re
import sys
import time
import traceback
import unittest


BANNERS = {"RUN": "[ RUN      ]", "OK": "[       OK ]", "FAILED": "[  FAILED  ]", "SKIPPED": "[  SKIPPED ]", "ERROR": "[  ERROR   ]"}


def say(verdict, name):
    print(f"{BANNERS[verdict]} {re.sub(r'[^A-Za-z0-9_]', '_', name)}", flush=True)


class Result(unittest.TestResult):
    """One line when a test begins, one with its verdict; what went wrong between them, as soon as it did."""

    @staticmethod
    def name(test):
        # What sets up or tears down a class is no test, and is called "setUpClass (module.Class)".
        return ".".join(test.id().split(".")[-2:]) if isinstance(test, unittest.TestCase) else str(test)

    def startTest(self, test):
        super().startTest(test)
        self.began, self.verdict = time.monotonic(), "OK"
        say("RUN", self.name(test))

    def stopTest(self, test):
        super().stopTest(test)
        print(f"{time.monotonic() - self.began:.1f} s")
        say(self.verdict, self.name(test))
        self.verdict = None

    def fail(self, test, error, verdict="FAILED"):
        print("".join(traceback.format_exception(*error)), flush=True)
        if getattr(self, "verdict", None) is None:  # outside of any test
            say("ERROR", self.name(test))
        else:
            self.verdict = verdict

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print(f"in {subtest}:")
            self.fail(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"skipped: {reason}")
        if getattr(self, "verdict", None) is None:
            say("SKIPPED", self.name(test))
        else:
            self.verdict = "SKIPPED"


class Runner:
    def run(self, suite):
        result = Result()
        suite(result)
        print(f"{result.testsRun} cases, {len(result.failures) + len(result.errors)} failures, {len(result.skipped)} skipped", flush=True)
        return result


def main(argv):
    program = unittest.main(argv=argv, testRunner=Runner(), exit=False)
    sys.exit(0 if program.result.wasSuccessful() and program.result.testsRun else 1)
