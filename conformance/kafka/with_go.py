"""What an application does with the three Go clients: franz-go, sarama, kafka-go. The program stands in `go/`."""

import os
import subprocess
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = ("franz-go", "sarama", "kafka-go")
RUN_SECONDS = 300


def main():
    options = arguments()
    if why := golang.missing():
        print(f"skip all: {why}")
        return 0
    program = golang.program(os.path.join(HERE, "go"), "kafka")
    code = 0
    for client in CLIENTS:
        done = subprocess.run([program, "--address", options.address, "--client", client], stdout=subprocess.PIPE,
                              text=True, timeout=RUN_SECONDS)
        for line in done.stdout.splitlines():
            for verdict in ("ok ", "not ok "):
                if line.startswith(verdict):
                    print(f"{verdict}{client}: {line.removeprefix(verdict)}".replace(f"{client}: ", f"{client} ", 1), flush=True)
        code = code or done.returncode
    return code


if __name__ == "__main__":
    sys.exit(main())
