"""Spring AMQP: fetches it from Maven into the cache folder and runs `java/Spring.java` with it."""

import os
import subprocess
import sys
import tempfile

from harness import maven
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ("org.springframework.amqp:spring-rabbit:3.2.12", "org.springframework:spring-context:6.2.19", "org.slf4j:slf4j-nop:2.0.17")
RUN_SECONDS = 240


def main():
    options = arguments()
    if why := maven.missing():
        print(f"skip all: {why}")
        return 0
    path = os.path.join(maven.jars("spring-rabbit", *JARS), "*")
    with tempfile.TemporaryDirectory() as built:
        compiling = ["javac", "-nowarn", "-parameters", "-d", built, "-cp", path, os.path.join(HERE, "java", "Spring.java")]
        subprocess.run(compiling, check=True, timeout=RUN_SECONDS, stderr=subprocess.STDOUT)
        running = ["java", "-cp", os.pathsep.join([built, path]), "Spring", options.address]
        return subprocess.run(running, timeout=RUN_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
