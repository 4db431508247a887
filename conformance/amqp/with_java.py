"""The Java client: fetches it from Maven into the cache folder and runs `java/Smoke.java` with it."""

import glob
import os
import shutil
import subprocess
import sys

from harness.cases import arguments
from harness.sources import cache_folder

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ("com.rabbitmq:amqp-client:5.37.1", "org.slf4j:slf4j-api:2.0.17", "org.slf4j:slf4j-nop:2.0.17")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
FETCH_SECONDS, RUN_SECONDS = 300, 120


def jars():
    """The folder that holds them."""
    cache = os.path.join(os.path.dirname(cache_folder()), "amqp", "java")
    folder = os.path.join(cache, "-".join(jar.rsplit(":", 1)[1] for jar in JARS))
    if not os.path.isdir(folder):
        making = f"{folder}.making"
        for jar in JARS:
            fetch = ["mvn", "-q", "-B", f"-Dmaven.repo.local={cache}/repository", COPY]
            fetch += [f"-Dartifact={jar}", f"-DoutputDirectory={making}"]
            subprocess.run(fetch, check=True, stdout=subprocess.DEVNULL, timeout=FETCH_SECONDS)
        os.rename(making, folder)
    return folder


def main():
    options = arguments()
    if not (shutil.which("java") and shutil.which("mvn")):
        print("skip all: Java with Maven is not installed")
        return 0
    path = os.pathsep.join(glob.glob(os.path.join(jars(), "*.jar")))
    command = ["java", "-cp", path, os.path.join(HERE, "java", "Smoke.java"), "--address", options.address]
    return subprocess.run(command, timeout=RUN_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
