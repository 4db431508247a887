"""A table of cases: functions that raise when the broker behaves differently from what its clients rely on.

A suite is a script that registers its cases and calls `main`. It says one line per case, which `run.py` reads:
`ok NAME`, `not ok NAME: what happened`, `skip NAME: why`.
"""

import argparse
import concurrent.futures
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
    parser.add_argument("--address", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="run cases whose name contains this")
    return parser.parse_args()


def main(call=lambda function, address: function(address), at_once=1):
    """Runs the cases, `at_once` of them at a time."""
    options = arguments()
    wanted = [
        function
        for function, full_only in CASES
        if options.only in function.__name__ and not (full_only and options.quick)
    ]
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for lines in pool.map(lambda function: run(function, call, options.address), wanted):
            print(lines, flush=True)
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.flush()


def run(function, call, address):
    """Runs one case and returns what there is to say."""
    # One clock for all: the case that began last has this long.
    faulthandler.dump_traceback_later(CASE_SECONDS_MAX, exit=True)
    name = function.__name__
    began = time.monotonic()
    lines = []
    try:
        call(function, address)
        lines.append(f"ok {name}")
    except Skipped as why:
        lines.append(f"skip {name}: {why}")
    except Exception as error:
        lines.append(traceback.format_exc())
        lines.append(f"not ok {name}: {type(error).__name__}: {error}".replace("\n", " "))
    lines.append(f"# {name}: {time.monotonic() - began:.1f} s")
    return "\n".join(lines)
