"""A table of cases: functions that raise when the broker behaves differently from what its clients rely on.

A suite is a script that registers its cases and calls `main`. It says one line per case, which `run.py` reads:
`ok NAME`, `not ok NAME: what happened`, `skip NAME: why`.
"""

import argparse
import faulthandler
import itertools
import sys
import time
import traceback
import uuid

# A case that hangs ends its suite, with every thread's stack.
CASE_SECONDS_MAX = 120

CASES = []
COUNTER = itertools.count()


def case(function=None, *, full_only=False):
    """Registers a case; `full_only` leaves it out of the quick run."""

    def register(function):
        CASES.append((function, full_only))
        return function

    return register(function) if function else register


class Skipped(Exception):
    """A case that cannot run here, and why."""


def fresh(kind):
    """A name nobody used before."""
    return f"{kind}-{next(COUNTER)}-{uuid.uuid4().hex[:8]}"


def eventually(holds, seconds=20, pause=0.1):
    """Waits until `holds()` is true and returns what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s: {holds.__name__}")
        time.sleep(pause)


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="run cases whose name contains this")
    return parser.parse_args()


def main(call=lambda function, bootstrap: function(bootstrap)):
    options = arguments()
    for function, full_only in CASES:
        name = function.__name__
        if options.only not in name or (full_only and options.quick):
            continue
        faulthandler.dump_traceback_later(CASE_SECONDS_MAX, exit=True)
        began = time.monotonic()
        try:
            call(function, options.bootstrap)
            print(f"ok {name}", flush=True)
        except Skipped as why:
            print(f"skip {name}: {why}", flush=True)
        except Exception as error:
            traceback.print_exc()
            print(f"not ok {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        print(f"# {name}: {time.monotonic() - began:.1f} s", flush=True)
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.flush()
