"""The Java client: fetches it from Maven into the cache folder and runs `java/Smoke.java` with it."""

import os
import subprocess
import sys

from harness import maven
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ("com.rabbitmq:amqp-client:5.37.1", "org.slf4j:slf4j-nop:2.0.17")
RUN_SECONDS = 120


def main():
    options = arguments()
    if why := maven.missing():
        print(f"skip all: {why}")
        return 0
    path = os.path.join(maven.jars("amqp-client", *JARS), "*")
    command = ["java", "-cp", path, os.path.join(HERE, "java", "Smoke.java"), "--address", options.address]
    return subprocess.run(command, timeout=RUN_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
