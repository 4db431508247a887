"""The Go client: builds the program in `go/` into the cache folder and runs it."""

import os
import subprocess
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
RUN_SECONDS = 120


def main():
    options = arguments()
    if why := golang.missing():
        print(f"skip all: {why}")
        return 0
    program = golang.program(os.path.join(HERE, "go"), "amqp")
    return subprocess.run([program, "--address", options.address], timeout=RUN_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
