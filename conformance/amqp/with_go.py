"""The Go client: builds the program in `go/` into the cache folder and runs it."""

import os
import shutil
import subprocess
import sys

from harness.cases import arguments
from harness.sources import cache_folder

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD_SECONDS, RUN_SECONDS = 400, 120


def main():
    options = arguments()
    if not shutil.which("go"):
        print("skip all: Go is not installed")
        return 0
    cache = os.path.join(os.path.dirname(cache_folder()), "amqp", "go")
    os.makedirs(cache, exist_ok=True)
    environment = os.environ | {"GOFLAGS": "-mod=readonly -modcacherw", "GOPATH": os.path.join(cache, "path")}
    program = os.path.join(cache, "smoke")
    build = ["go", "build", "-o", program, "."]
    subprocess.run(build, cwd=os.path.join(HERE, "go"), env=environment, check=True, timeout=BUILD_SECONDS)
    return subprocess.run([program, "--address", options.address], timeout=RUN_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
