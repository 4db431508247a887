"""librdkafka's own tests that need a broker, as its source has them. The source comes with a package of the Node registry,
is built in the cache folder, and each test runs in a process of its own."""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

from harness.cases import arguments
from harness.sources import cache_folder

PACKAGE = "node-rdkafka@3.6.1"
BUILD_SECONDS = 900
TEST_SECONDS = 100
AT_ONCE = 3
# `_TEST(0001_multiobj, flags, …)`
TEST = re.compile(r"^\s+_TEST\((\d{4}_\w+),\s*([^,)]*)", re.MULTILINE)
FAILURE = re.compile(r"failed at [^\n]*\n([^\n]*)")
WITHOUT = ["--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-syslog"]


def missing():
    tools = [tool for tool in ("npm", "make", "gcc", "g++") if not shutil.which(tool)]
    return f"not installed: {', '.join(tools)}" if tools else None


def built():
    """The folder of the built tests."""
    folder = os.path.join(cache_folder(), PACKAGE.replace("@", "-"))
    source = os.path.join(folder, "package", "deps", "librdkafka")
    if not os.path.exists(os.path.join(folder, "built")):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

        def run(command, where):
            subprocess.run(command, cwd=where, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           timeout=BUILD_SECONDS)

        run(["npm", "pack", PACKAGE, "--silent"], folder)
        archive, = (name for name in os.listdir(folder) if name.endswith(".tgz"))
        with tarfile.open(os.path.join(folder, archive)) as packed:
            packed.extractall(folder, filter="data")
        run(["bash", "./configure", *WITHOUT], source)
        run(["make", "-j2", "libs"], source)
        run(["make", "-C", "tests", "test-runner"], source)
        with open(os.path.join(folder, "built"), "w", encoding="utf-8"):
            pass
    return os.path.join(source, "tests")


def tests(folder):
    """The names of the tests that need a broker and no person."""
    with open(os.path.join(folder, "test.c"), encoding="utf-8") as file:
        found = TEST.findall(file.read())
    return [name for name, flags in found if not re.search("LOCAL|MANUAL|SOCKEM", flags)]


def run_one(folder, name, conf):
    """`ok`, `skip` or `not ok`, and why."""
    variables = os.environ | {
        "RDKAFKA_TEST_CONF": conf,
        "TESTS": name.split("_")[0],
        "TEST_KAFKA_VERSION": "3.9.0",
        "TEST_LEVEL": "1",
        "LD_LIBRARY_PATH": ":".join(os.path.join(folder, "..", part) for part in ("src", "src-cpp")),
    }
    runner = [os.path.join(folder, "test-runner"), "-L", "-Q", "-p1"]
    try:
        done = subprocess.run(runner, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=TEST_SECONDS, text=True, errors="replace")
    except subprocess.TimeoutExpired as slow:
        said = (slow.stdout or b"").decode(errors="replace")
        return "not ok", f"not done in {TEST_SECONDS} s: {' '.join(said.split())[-200:]}"
    said = done.stdout
    if done.returncode == 0:
        skipped = re.search(r"SKIPPED|Skipping|skipped", said) and not re.search(r"PASSED", said)
        return ("skip", " ".join(skipped.group(0).split())) if skipped else ("ok", "")
    why = FAILURE.findall(said)
    return "not ok", (why[0] if why else " ".join(said.split())[-300:])[:300]


def main():
    options = arguments()
    why = missing()
    if why:
        print(f"skip all: {why}")
        return 0
    folder = built()
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as conf:
        conf.write(f"bootstrap.servers={options.address}\n")
        conf.flush()
        names = tests(folder)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for name, (verdict, why) in zip(names, pool.map(lambda name: run_one(folder, name, conf.name), names)):
                print(f"{verdict} {name}" + (f": {why}" if why else ""), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
