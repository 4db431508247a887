"""The examples of the README and the guides, word for word, except for the address: the broker under test has ports of
its own."""

import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SECONDS = 60


def examples(language, page):
    """All code blocks in this language on a page."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as text:
        return re.findall(rf"```{language}\n(.*?)```", text.read(), re.DOTALL)


def example(language, word, page="README.md"):
    """The one code block in this language that mentions this word."""
    found = [block for block in examples(language, page) if word in block]
    assert len(found) == 1, f"{page} has {len(found)} {language} examples with {word}"
    return found[0]


def run(command, text, written, address):
    """Feeds an example to a command, with the address that is written there replaced; returns what it printed."""
    assert written in text, f"the example does not connect to {written}"
    # What was installed for the suite comes first.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            input=text.replace(written, address),
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout
