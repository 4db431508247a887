"""Runs somebody else's pytest suite, unchanged, with a plugin of ours that points it at the broker under test."""

import os
import subprocess
import sys


def run(folder, plugin, targets, *, only=None, environment=None, options=()):
    """Runs the suite in its own folder and returns the exit code of ours.

    `plugin` is a module beside the calling script; `only` is an expression that selects cases.
    """
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    settings = os.environ | {
        "PYTHONPATH": os.pathsep.join([here, os.environ["PYTHONPATH"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        *(sys.executable, "-m", "pytest", "-p", plugin, "-p", "harness.pytest_lines", "-p", "no:cacheprovider"),
        *("-o", "addopts=", "--rootdir", folder, "--timeout=60", "--tb=short", "-q"),
        *options,
        *targets,
    ]
    if only:
        command += ["-k", only]
    code = subprocess.run(command, cwd=folder, env=settings | (environment or {})).returncode
    # It only repeats what the lines per case say, except when the suite could not run at all.
    return 0 if code in (0, 1) else code
