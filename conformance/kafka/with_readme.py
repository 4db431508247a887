"""The Kafka examples of the README and the guide, word for word, except for the address."""

import shutil
import sys

from harness.cases import Skipped, case, equal, main
from harness.readme import example, examples, run

ADDRESS = "127.0.0.1:9092"


@case
def the_python_example(bootstrap):
    text = example("python", "confluent_kafka")
    equal(run([sys.executable, "-"], text, ADDRESS, bootstrap), "b'one coffee'\n")


@case
def the_guide(bootstrap):
    produce, consume = examples("python", "docs/guides/kafka-first-ten-minutes.md")
    equal(run([sys.executable, "-"], produce, ADDRESS, bootstrap), "0 messages left\n")
    equal(run([sys.executable, "-"], consume, ADDRESS, bootstrap), "table-4 True\n")


@case
def the_shell_example(bootstrap):
    if shutil.which("kcat") is None:
        raise Skipped("kcat is not installed")
    shown = run(["sh", "-e"], example("sh", "kcat"), ADDRESS, bootstrap)
    assert shown.splitlines()[-1] == "one tea", shown


if __name__ == "__main__":
    main()
