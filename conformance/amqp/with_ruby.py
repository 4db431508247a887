"""The Ruby client, Bunny: runs `smoke.rb` with Debian's packages, unpacked into the cache folder."""

import glob
import os
import subprocess
import sys

from harness.cases import arguments
from harness.debian import Unavailable, libraries, unpacked

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = (
    "ruby3.1",
    "libruby3.1",
    "ruby-bunny",
    "ruby-amq-protocol",
    "ruby-sorted-set",
    "ruby-rbtree",
    "rubygems-integration",
)
SECONDS = 120


def main():
    options = arguments()
    try:
        folder = unpacked(*PACKAGES)
    except Unavailable as why:
        print(f"skip all: {why}")
        return 0

    def inside(*pattern):
        return os.pathsep.join(sorted(glob.glob(os.path.join(folder, "usr", *pattern))))

    environment = os.environ | {
        "LD_LIBRARY_PATH": libraries(folder),
        "RUBYLIB": os.pathsep.join(
            [
                inside("lib", "ruby", "vendor_ruby", "3.*"),
                inside("lib", "ruby", "vendor_ruby"),
                inside("lib", "*", "ruby", "3.*"),
                inside("lib", "ruby", "3.*"),
            ]
        ),
        "GEM_PATH": os.pathsep.join(
            [inside("share", "rubygems-integration", "all"), inside("lib", "*", "rubygems-integration", "3.*")]
        ),
    }
    command = [inside("bin", "ruby3.*"), os.path.join(HERE, "smoke.rb"), "--address", options.address]
    return subprocess.run(command, env=environment, timeout=SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
