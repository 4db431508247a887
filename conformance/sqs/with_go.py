"""The Go clients, today's and that of 2017, which speaks the Query protocol. The program stands in `go/`."""

import os
import subprocess
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = ("aws-sdk-go-v2", "aws-sdk-go")
RUN_SECONDS = 200


def main():
    options = arguments()
    if why := golang.missing():
        print(f"skip all: {why}")
        return 0
    program = golang.program(os.path.join(HERE, "go"), "sqs")
    codes = [
        subprocess.run([program, "--address", options.address, "--client", client], timeout=RUN_SECONDS).returncode
        for client in CLIENTS
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
