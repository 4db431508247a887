"""The Java clients, version 2 and version 1: fetched from Maven, and run with the programs in `java/`."""

import os
import subprocess
import sys

from harness import maven
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
# Program, name in the cache, archives.
CLIENTS = (
    ("Version2.java", "aws-sdk-2", ("software.amazon.awssdk:sqs:2.57.8", "org.slf4j:slf4j-nop:2.0.17")),
    ("Version1.java", "aws-sdk-1", ("com.amazonaws:aws-java-sdk-sqs:1.12.797", "org.slf4j:slf4j-nop:2.0.17")),
)
RUN_SECONDS = 120


def main():
    options = arguments()
    if why := maven.missing():
        print(f"skip all: {why}")
        return 0
    codes = []
    for program, name, archives in CLIENTS:
        path = os.path.join(maven.jars(name, *archives), "*")
        command = ["java", "-cp", path, os.path.join(HERE, "java", program), f"http://{options.address}"]
        codes.append(subprocess.run(command, timeout=RUN_SECONDS).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
