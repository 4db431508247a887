"""moto's own SQS suite, from its source distribution, in its server mode against our broker.

The distribution is downloaded once into the cache folder and never becomes part of this repository. `moto_plugin.py`
says how the suite is pointed at the broker.
"""

import os
import subprocess
import sys

from harness.cases import arguments
from harness.sources import source

PACKAGE = "moto"
HERE = os.path.dirname(os.path.abspath(__file__))
# Cases that wait for seconds are for the full run.
QUICK = "not polling and not visibility and not delay and not dlq and not dedupl and not message_send_"


def main():
    options = arguments()
    folder = source(PACKAGE)
    environment = os.environ | {
        "TEST_SERVER_MODE": "true",
        "TEST_SERVER_MODE_ENDPOINT": f"http://{options.address}",
        # The plugin does what moto's own way to forget everything would do.
        "MOTO_CALL_RESET_API": "false",
        # No case that starts a container gets that far.
        "TESTS_SKIP_REQUIRES_DOCKER": "true",
        "AWS_ACCESS_KEY_ID": "conformance",
        "AWS_SECRET_ACCESS_KEY": "conformance",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": os.pathsep.join([HERE, os.environ["PYTHONPATH"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        *(sys.executable, "-m", "pytest", "-p", "moto_plugin", "-p", "harness.pytest_lines"),
        *("-p", "no:cacheprovider", "--rootdir", folder, "--timeout=60", "--tb=short", "-q"),
        os.path.join("tests", "test_sqs"),
    ]
    if options.quick:
        command += ["-k", options.only or QUICK]
    elif options.only:
        command += ["-k", options.only]
    # Its exit code only repeats what the lines per case say, except when it could not run at all.
    code = subprocess.run(command, cwd=folder, env=environment).returncode
    return 0 if code in (0, 1) else code


if __name__ == "__main__":
    sys.exit(main())
