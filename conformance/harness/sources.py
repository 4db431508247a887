"""Other people's suites: source distributions, downloaded once into the cache folder and never part of this clone."""

import importlib.metadata
import os
import subprocess
import sys
import tarfile


def cache_folder():
    cache = os.environ.get("FOREBAY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "forebay"
    )
    return os.path.join(cache, "conformance", "sources")


def source(package):
    """The unpacked source distribution of the very version that is installed."""
    version = importlib.metadata.version(package)
    cache = cache_folder()
    stem = f"{package.replace('-', '_')}-{version}"
    folder = os.path.join(cache, stem)
    if not os.path.isdir(folder):
        os.makedirs(cache, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(
            # What it is built with may come as it is.
            [*download, "--no-binary", package, "--dest", cache, f"{package}=={version}"],
            check=True,
            timeout=120,
        )
        unpacking = f"{folder}.unpacking"
        with tarfile.open(os.path.join(cache, f"{stem}.tar.gz")) as archive:
            archive.extractall(unpacking, filter="data")
        os.rename(os.path.join(unpacking, stem), folder)
        os.rmdir(unpacking)
    return folder
