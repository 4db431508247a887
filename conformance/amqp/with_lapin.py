"""lapin's own tests, from its crate, against our broker: the Rust client. Takes minutes to build the first time."""

import glob
import os
import re
import shutil
import subprocess
import sys

from harness.cases import arguments
from harness.sources import cache_folder

VERSION = "4.12.3"
# What fetches the crate: an application that uses it.
MANIFEST = f"""\
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"

[dependencies]
lapin = {{ version = "={VERSION}", default-features = false }}
"""
# Its runtimes, and no TLS.
FEATURES = ("--no-default-features", "--features", "tokio,smol")
SECONDS = 590


def crate(cache):
    """The crate's files, its tests among them, in a folder of our own."""
    folder = os.path.join(cache, f"lapin-{VERSION}")
    if not os.path.isdir(folder):
        fetching = os.path.join(cache, "fetch")
        os.makedirs(os.path.join(fetching, "src"), exist_ok=True)
        for name, content in (("Cargo.toml", MANIFEST), (os.path.join("src", "lib.rs"), "")):
            with open(os.path.join(fetching, name), "w", encoding="utf-8") as file:
                file.write(content)
        subprocess.run(["cargo", "fetch", "--quiet"], cwd=fetching, check=True, timeout=SECONDS)
        home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
        fetched = glob.glob(os.path.join(home, "registry", "src", "*", f"lapin-{VERSION}"))[0]
        shutil.copytree(fetched, f"{folder}.copying", dirs_exist_ok=True)
        os.rename(f"{folder}.copying", folder)
    return folder


def say(lines):
    """Says one line per case of what `cargo test` printed."""
    file = "lib"
    for line in lines:
        if running := re.search(r"Running (?:unittests )?(\S+)", line):
            file = os.path.basename(running[1])
        if case := re.match(r"test (\S+)(?: - should panic)? \.\.\. (\w+)(.*)", line):
            verdict = {"ok": "ok", "ignored": "skip"}.get(case[2], "not ok")
            print(f"{verdict} {file}::{case[1]}{'' if verdict == 'ok' else f': {case[2]}{case[3]}'}")


def main():
    options = arguments()
    if options.quick:
        print("skip all: has to be built, which takes minutes; the full run has it")
        return 0
    if not shutil.which("cargo"):
        print("skip all: Rust is not installed")
        return 0
    cache = os.path.join(os.path.dirname(cache_folder()), "amqp", "lapin")
    environment = os.environ | {
        "AMQP_ADDR": f"amqp://{options.address}/%2f",
        "CARGO_TARGET_DIR": os.path.join(cache, "target"),
        "CARGO_INCREMENTAL": "0",
    }
    command = ["cargo", "test", "--locked", "--no-fail-fast", *FEATURES, "--tests", "--", "--test-threads=1"]
    done = subprocess.run(
        command,
        cwd=crate(cache),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    print(done.stdout)
    say(done.stdout.splitlines())
    return 0 if done.returncode in (0, 101) else done.returncode


if __name__ == "__main__":
    sys.exit(main())
