"""The C client, librabbitmq: compiles `smoke.c` with Debian's packages, unpacked into the cache folder, and runs it."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

from harness.cases import arguments
from harness.debian import Unavailable, libraries, unpacked

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ("librabbitmq-dev", "librabbitmq4")
SECONDS = 120


def main():
    options = arguments()
    if not shutil.which("cc"):
        print("skip all: no C compiler is installed")
        return 0
    try:
        folder = unpacked(*PACKAGES)
    except Unavailable as why:
        print(f"skip all: {why}")
        return 0
    (library,) = glob.glob(os.path.join(folder, "usr", "lib", "*", "librabbitmq.so.4"))
    with tempfile.TemporaryDirectory() as making:
        program = os.path.join(making, "smoke")
        include = os.path.join(folder, "usr", "include")
        build = ["cc", "-Wall", "-O1", f"-I{include}", "-o", program, os.path.join(HERE, "smoke.c"), library]
        # What the library itself needs is found where programs find it.
        subprocess.run([*build, "-Wl,--allow-shlib-undefined"], check=True, timeout=SECONDS)
        environment = os.environ | {"LD_LIBRARY_PATH": libraries(folder)}
        return subprocess.run([program, "--address", options.address], env=environment, timeout=SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
