"""Java archives from the Java registry, with all they need, fetched once into the cache folder."""

import os
import shutil
import subprocess
import tempfile

from harness.sources import cache_folder

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
FETCH_SECONDS = 600


def missing():
    """Why no Java program can be run here; nothing when it can."""
    absent = [tool for tool in ("java", "javac", "mvn") if not shutil.which(tool)]
    return f"not installed: {', '.join(absent)}" if absent else None


def jars(name, *artifacts):
    """The folder with these artifacts (`group:name:version`) and what they depend on; `name` is its name in the cache."""
    root = os.path.join(os.path.dirname(cache_folder()), "java")
    folder = os.path.join(root, f"{name}-{'-'.join(artifact.rsplit(':', 1)[1] for artifact in artifacts)}")
    if not os.path.isdir(folder):
        os.makedirs(root, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as making:
            with open(os.path.join(making, "pom.xml"), "w", encoding="utf-8") as pom:
                pom.write(_pom(artifacts))
            subprocess.run(
                ["mvn", "-q", "-B", f"-Dmaven.repo.local={root}/repository", COPY, "-DoutputDirectory=jars"],
                cwd=making, check=True, stdout=subprocess.DEVNULL, timeout=FETCH_SECONDS,
            )
            os.rename(os.path.join(making, "jars"), folder)
    return folder


def _pom(artifacts):
    dependencies = ""
    for artifact in artifacts:
        group, name, version = artifact.split(":")
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>conformance</groupId><artifactId>jars</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
