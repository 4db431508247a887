"""Go programs, and other people's Go suites, built into the cache folder."""

import json
import os
import shutil
import subprocess

from harness.sources import cache_folder

BUILD_SECONDS = 600


def missing():
    return None if shutil.which("go") else "Go is not installed"


def environment():
    """Go's variables: modules stay in the cache folder, and nothing changes a module's files."""
    path = os.path.join(os.path.dirname(cache_folder()), "go")
    os.makedirs(path, exist_ok=True)
    return os.environ | {"GOFLAGS": "-mod=readonly -modcacherw", "GOPATH": path, "GOTOOLCHAIN": "local"}


def program(module, name):
    """Builds the program in this folder and returns its path."""
    target = os.path.join(environment()["GOPATH"], "programs", name)
    subprocess.run(["go", "build", "-o", target, "."], cwd=module, env=environment(), check=True, timeout=BUILD_SECONDS)
    return target


def run_suite(module, package, *, variables=None, seconds, options=()):
    """Runs a package's own tests, as its module has them, and says one line per test. Returns the exit code of ours.

    `module` is a folder whose go.mod requires the package.
    """
    command = ["go", "test", "-json", "-count=1", f"-timeout={seconds}s", *options, package]
    # What the tests print goes nowhere but into the reason of a failure.
    with subprocess.Popen(command, cwd=module, env=environment() | (variables or {}), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as child:
        verdicts = _tell(child.stdout)
    # 1: some test failed, which the lines say.
    return 0 if child.returncode in (0, 1) and verdicts else child.returncode or 1


def _tell(lines):
    said, verdicts, running = {}, 0, {}
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            print(line, end="", flush=True)
            continue
        test = event.get("Test")
        if not test:
            continue
        if event["Action"] == "run":
            running[test] = True
        elif event["Action"] == "output":
            said.setdefault(test, []).append(event["Output"].strip())
        elif event["Action"] in ("pass", "fail", "skip"):
            verdicts += 1
            running.pop(test, None)
            said_of_it = " ".join(part for part in said.pop(test, []) if not part.startswith(("===", "---")))[-400:]
            word = {"pass": "ok", "fail": "not ok", "skip": "skip"}[event["Action"]]
            print(f"{word} {test}" + (f": {said_of_it}" if word != "ok" else ""), flush=True)
    # The program was ended, by its time limit or by itself.
    for test in running:
        print(f"not ok {test}: it did not end", flush=True)
    return verdicts
