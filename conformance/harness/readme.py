"""The README's examples, word for word, except for the address: the broker under test has ports of its own."""

import os
import re
import subprocess
import sys
import tempfile

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "README.md")
SECONDS = 60


def example(language, word):
    """The one code block in this language that mentions this word."""
    with open(README, encoding="utf-8") as readme:
        blocks = re.findall(rf"```{language}\n(.*?)```", readme.read(), re.DOTALL)
    found = [block for block in blocks if word in block]
    assert len(found) == 1, f"the README has {len(found)} {language} examples with {word}"
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
