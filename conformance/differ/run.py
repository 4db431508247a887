"""Asks a real broker and ours the same, and prints every difference that `explained.toml` does not explain.

    cargo xtask conformance differ kafka|amqp

The real one is fetched from its registry into the cache folder and started on free ports of this machine. A difference
is a step whose facts are not the same, after what has to differ (ids, ports, times) was replaced. It fails when a
difference is not explained, and when an explanation fits no difference any more.

A section `[PROTOCOL.words]` of `explained.toml` has expressions instead of steps: what they match is left out of every
fact before the comparison, so that a difference that is everywhere does not hide others.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import re
import sys
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import amqp_side  # noqa: E402
import kafka_side  # noqa: E402
from harness.broker import Broker  # noqa: E402

# What differs from run to run, whoever answers.
VOLATILE = (
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST:PORT"),
    (re.compile(r"\[-?\d{13,19}, \d{13}\]"), "[FROM, TO]"),
)


def by_step(lines, words=()):
    """{step: its facts, in order}; what the expressions in `words` match is left out."""
    replaced = [*VOLATILE, *((re.compile(word), "") for word in words)]
    steps = {}
    for line in lines:
        step, separator, fact = line.partition(" | ")
        if separator:
            for pattern, word in replaced:
                step, fact = pattern.sub(word, step), pattern.sub(word, fact)
            steps.setdefault(step, []).append(fact)
    return steps


def differences(real, ours):
    """(step, what the real one said, what we said) for every step that differs."""
    steps = list(dict.fromkeys([*real, *ours]))
    return [(step, real.get(step), ours.get(step)) for step in steps if real.get(step) != ours.get(step)]


def without_use(words, lines):
    """The expressions that match nothing any more."""
    return [word for word in words if not any(re.search(word, line) for line in lines)]


def judge(found, explained):
    """The differences without an explanation, and the explanations without a difference."""
    def matches(step, pattern):
        return fnmatch.fnmatchcase(step, pattern.replace("[", "[[]"))

    open_ones = [one for one in found if not any(matches(one[0], pattern) for pattern in explained)]
    unused = [pattern for pattern in explained if not any(matches(one[0], pattern) for one in found)]
    return open_ones, unused


def show(step, real, ours):
    print(f"difference: {step}")
    for name, facts in (("real", real), ("ours", ours)):
        for fact in facts if facts is not None else ["(step is missing)"]:
            print(f"  {name}: {fact}")


def recordings(side, binary, listener):
    """What both answered; both are asked at the same time."""
    amqp = "127.0.0.1:0" if listener == "amqp" else "off"
    with side.real() as real, Broker(binary, side.SETTINGS, amqp) as ours:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = [pool.submit(side.record, address) for address in (real.address, ours.listeners[listener])]
            return [one.result() for one in both]


def compare(listener, options):
    side = {"kafka": kafka_side, "amqp": amqp_side}[listener]
    why = side.missing()
    if why:
        print(f"skip {listener}: {why}")
        return 0
    real, ours = recordings(side, options.binary, listener)
    if options.keep:
        for name, lines in (("real", real), ("ours", ours)):
            with open(f"{options.keep}-{name}.txt", "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
    with open(os.path.join(HERE, "explained.toml"), "rb") as file:
        explained = tomllib.load(file).get(listener, {})
    words = explained.pop("words", {})
    unused_words = without_use(words, [*real, *ours])
    real, ours = by_step(real, words), by_step(ours, words)
    found = differences(real, ours)
    open_ones, unused = judge(found, explained)
    unused += unused_words
    for one in open_ones:
        show(*one)
    for pattern in unused:
        print(f"explained.toml: nothing differs at {pattern!r} any more")
    same = len(real) - len([one for one in found if one[1] is not None])
    print(f"{listener}: {same} steps are the same, {len(found) - len(open_ones)} differ for a reason, "
          f"{len(open_ones)} differ without one")
    return len(open_ones) + len(unused)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("listeners", nargs="*", default=["kafka", "amqp"], help="kafka, amqp; both when none is named")
    parser.add_argument("--binary", required=True, help="the forebay binary")
    parser.add_argument("--quick", action="store_true", help="nothing: a comparison takes minutes and fetches a broker")
    parser.add_argument("--keep", help="write both recordings to files that begin like this")
    options = parser.parse_args()
    if options.quick:
        print("differ: skipped in the quick run, it fetches and starts the real brokers")
        return 0
    failed = sum(compare(listener, options) for listener in options.listeners)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
