"""Debian packages, unpacked into the cache folder: nothing is installed, and nobody has to be root."""

import hashlib
import os
import shutil
import subprocess
import tempfile

from harness.sources import cache_folder

SECONDS = 300


class Unavailable(Exception):
    """These packages cannot be had here, and why."""


def unpacked(*packages):
    """The folder that holds the files of these packages. What they depend on has to be named too."""
    name = f"{packages[0]}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:8]}"
    folder = os.path.join(os.path.dirname(cache_folder()), "debian", name)
    if not os.path.isdir(folder):
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise Unavailable("this is no Debian")
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(folder)) as making:
            _download(packages, making)
            root = os.path.join(making, "root")
            for file in sorted(os.listdir(making)):
                subprocess.run(["dpkg", "-x", file, root], cwd=making, check=True)
            os.rename(root, folder)
    return folder


def _download(packages, folder):
    download = ["apt-get", "-qq", "download", *packages]
    done = _run(download, folder)
    if done.returncode != 0:
        # A new machine knows of no packages yet.
        _run(["apt-get", "-qq", "update"], folder)
        done = _run(download, folder)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(packages)} cannot be downloaded: {done.stderr.strip()}")


def _run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)


def libraries(folder):
    """What the dynamic linker has to be told."""
    found = []
    for parent in ("lib", os.path.join("usr", "lib")):
        for directory, _, files in os.walk(os.path.join(folder, parent)):
            if any(".so" in file for file in files):
                found.append(directory)
    return os.pathsep.join(found)
