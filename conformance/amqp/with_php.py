"""The PHP client, php-amqplib: runs `smoke.php` with Debian's packages, unpacked into the cache folder."""

import glob
import os
import subprocess
import sys

from harness.cases import arguments
from harness.debian import Unavailable, unpacked

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = (
    "php8.2-cli",
    "php8.2-common",
    "php8.2-mbstring",
    "php-amqplib",
    "php-phpseclib3",
    "php-constant-time",
    "php-random-compat",
)
SECONDS = 120


def main():
    options = arguments()
    try:
        folder = unpacked(*PACKAGES)
    except Unavailable as why:
        print(f"skip all: {why}")
        return 0
    (extensions,) = glob.glob(os.path.join(folder, "usr", "lib", "php", "2*"))
    settings = {
        "extension_dir": extensions,
        "include_path": os.path.join(folder, "usr", "share", "php"),
        "memory_limit": "512M",
    }
    command = [os.path.join(folder, "usr", "bin", "php8.2"), "-n"]
    for name, value in [*settings.items(), ("extension", "mbstring"), ("extension", "sockets")]:
        command += ["-d", f"{name}={value}"]
    command += [os.path.join(HERE, "smoke.php"), "--address", options.address]
    return subprocess.run(command, timeout=SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
