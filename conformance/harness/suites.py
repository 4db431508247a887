"""Runs the suites of a protocol, each against a broker of its own, and says one line per suite and one for all.

Each suite is a process of its own that says one line per case (see `cases.py`); `expected.toml` beside the suites says
which cases of suites that are not ours cannot pass, and why.

`FOREBAY_CONFORMANCE_<LISTENER>=host:port` names another broker to run the suites against, so that they can be compared
with the one our broker is compatible with.
"""

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import shutil
import subprocess
import sys
import time
import tomllib

from harness.broker import Broker

CONFORMANCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Longer than any suite takes on a busy machine; a suite that hangs is ended.
SUITE_SECONDS_MAX = 600


@dataclasses.dataclass
class Suite:
    name: str
    script: str
    # A suite that kills its broker starts one itself.
    own_broker: bool = False
    interpreter: str = sys.executable
    # It takes longer than the quick run has.
    full_only: bool = False
    # What our own cases skip, they skip for a reason; other people's have to be listed.
    ours: bool = True
    # Settings of the broker, as environment variables.
    settings: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Outcome:
    """What the cases of a suite came to."""

    passed: list = dataclasses.field(default_factory=list)
    skipped: list = dataclasses.field(default_factory=list)
    # (case, what happened)
    failed: list = dataclasses.field(default_factory=list)

    def __str__(self):
        return f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


@dataclasses.dataclass
class Run:
    """A protocol's folder, the listener its clients talk to, and what was asked for on the command line."""

    folder: str
    listener: str
    options: argparse.Namespace


def environment_beside(name):
    """The interpreter of the environment made from `requirements-NAME.txt`: it stands beside the one that runs this."""
    return os.path.join(f"{sys.prefix}-{name}", "bin", "python")


def other_broker(listener):
    """Where a broker already runs that is to be tested instead of ours."""
    return os.environ.get(f"FOREBAY_CONFORMANCE_{listener.upper()}")


def cases_of(lines):
    """{case: (verdict, detail)}. A case that fails twice, as in its teardown, is still one case."""
    cases = {}
    for line in lines:
        for verdict in ("ok", "not ok", "skip"):
            if line.startswith(verdict + " "):
                name, _, detail = line.removeprefix(verdict + " ").partition(": ")
                if cases.get(name, ("ok",))[0] != "not ok":
                    cases[name] = (verdict, detail)
    return cases


def judge(suite, cases, expected):
    """Compares what happened with the deny-list."""
    outcome = Outcome()
    for name, (verdict, detail) in cases.items():
        reason = next((why for pattern, why in expected.items() if matches(name, pattern)), None)
        if reason and verdict == "ok":
            outcome.failed.append((name, f"passes although expected.toml says: {reason}"))
        elif reason:
            outcome.skipped.append((name, reason))
        # A whole suite that cannot run says so itself.
        elif verdict == "skip" and (suite.ours or name == "all"):
            outcome.skipped.append((name, detail))
        elif verdict == "ok":
            outcome.passed.append(name)
        else:
            outcome.failed.append((name, f"{'skipped itself: ' if verdict == 'skip' else ''}{detail}"))
    return outcome


def matches(name, pattern):
    # Case names have parameters in brackets, which are no patterns.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def run_suite(suite, run, target):
    """Runs a suite's process; returns its exit code and everything it said."""
    command = [suite.interpreter, os.path.join(run.folder, suite.script), *target]
    if run.options.quick and not suite.own_broker:
        command.append("--quick")
    with subprocess.Popen(
        command,
        # The suites import what they share with others.
        env=os.environ | {"PYTHONPATH": CONFORMANCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as child:
        try:
            said, _ = child.communicate(timeout=SUITE_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            # The group holds only what the suite itself has started.
            os.killpg(child.pid, 9)
            said, _ = child.communicate()
    return child.returncode, said.decode(errors="replace")


def try_suite(suite, run, expected):
    """Runs a suite against a broker of its own and judges both."""
    if suite.interpreter == "node" and not (shutil.which("node") and os.environ.get("NODE_PATH")):
        return Outcome(skipped=[("all", "Node.js with npm is not installed")]), ""
    other = other_broker(run.listener)
    if other and suite.own_broker:
        return Outcome(skipped=[("all", "needs a broker of its own")]), ""
    if other or suite.own_broker:
        code, said = run_suite(suite, run, ["--address", other] if other else ["--binary", run.options.binary])
        alarms = []
    else:
        amqp = "127.0.0.1:0" if run.listener == "amqp" else "off"
        with Broker(run.options.binary, suite.settings, amqp) as broker:
            code, said = run_suite(suite, run, ["--address", broker.listeners[run.listener]])
            alive = broker.process.poll() is None
            stopped = broker.stop() if alive else None
            alarms = broker.alarms()
            if stopped != 0:
                alarms.append(f"the broker exited with {stopped}" if alive else "the broker died")
    cases = cases_of(said.splitlines())
    outcome = judge(suite, cases, expected)
    outcome.failed += [("the broker's log", alarm) for alarm in alarms]
    if code != 0 or not cases:
        outcome.failed.append(("the suite", f"exited with {code} after {len(cases)} cases"))
    if not run.options.quick and "all" not in cases:
        unused = [pattern for pattern in expected if not any(matches(name, pattern) for name in cases)]
        outcome.failed += [("expected.toml", f"no case is named {pattern}") for pattern in unused]
    return outcome, said


def listed(suite, run, everything):
    """What `expected.toml` says of a suite, and more for a broker that is tested instead of ours."""
    elsewhere = everything.get("elsewhere", {}) if other_broker(run.listener) else {}
    return everything.get(suite.name, {}) | elsewhere.get(suite.name, {})


def report(suite, run, expected):
    """Runs a suite; returns what it came to, and what to print about it."""
    expected = listed(suite, run, expected)
    began = time.monotonic()
    outcome, said = try_suite(suite, run, expected)
    lines = [said] if outcome.failed else []
    lines += [f"{suite.name}: FAILED {name}: {what}" for name, what in outcome.failed]
    if not run.options.quick or suite.ours:
        lines += [f"{suite.name}: skipped {name}: {why}" for name, why in outcome.skipped]
    remarks = "".join(f" ({line[2:]})" for line in said.splitlines() if line.startswith("# ") and suite.own_broker)
    lines.append(f"{suite.name}: {outcome} in {time.monotonic() - began:.0f} s{remarks}")
    return outcome, "\n".join(lines)


def wants(options, suite):
    """Whether a suite is part of the run; one that is named always is."""
    return options.suite == suite.name or (options.suite is None and not (options.quick and suite.full_only))


def own_broker_arguments():
    """What a suite that starts its broker itself is called with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def main(folder, listener, suites, at_once=1):
    """Runs the suites of a folder, `at_once` of them at a time; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=not other_broker(listener), help="the forebay binary")
    parser.add_argument("--quick", action="store_true", help="what fits into a minute and a half")
    parser.add_argument("--suite", help="only this one")
    options = parser.parse_args()
    with open(os.path.join(folder, "expected.toml"), "rb") as file:
        expected = tomllib.load(file)

    run = Run(folder, listener, options)
    wanted = [suite for suite in suites if wants(options, suite)]
    total = Outcome()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for outcome, lines in pool.map(lambda suite: report(suite, run, expected), wanted):
            print(lines, flush=True)
            total.passed += outcome.passed
            total.failed += outcome.failed
            total.skipped += outcome.skipped
    print(total)
    return 1 if total.failed else 0
