"""The README's examples, word for word, except for the address: the broker under test has ports of its own."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from cases import Skipped, case, equal, main

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "README.md")
ADDRESS = "127.0.0.1:9092"
SECONDS = 60


def examples(language, word):
    """The code blocks in this language that mention this word."""
    with open(README, encoding="utf-8") as readme:
        blocks = re.findall(rf"```{language}\n(.*?)```", readme.read(), re.DOTALL)
    found = [block for block in blocks if word in block]
    assert found, f"the README has no {language} example with {word}"
    return found


def run(command, text, bootstrap):
    assert ADDRESS in text, f"the example does not connect to {ADDRESS}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            input=text.replace(ADDRESS, bootstrap),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@case
def the_python_example(bootstrap):
    (example,) = examples("python", "confluent_kafka")
    equal(run([sys.executable, "-"], example, bootstrap), "b'one coffee'\n")


@case
def the_shell_example(bootstrap):
    if shutil.which("kcat") is None:
        raise Skipped("kcat is not installed")
    (example,) = examples("sh", "kcat")
    shown = run(["sh", "-e"], example, bootstrap)
    assert shown.splitlines()[-1] == "one tea", shown


if __name__ == "__main__":
    main()
