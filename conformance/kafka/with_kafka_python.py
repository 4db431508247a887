"""kafka-python's own integration suite, from its source distribution, against our broker.

The distribution is downloaded once into the cache folder and never becomes part of this repository. Its suite expects
a `test` package that the distribution holds only in parts, and a broker of its own: `kafka_python_plugin.py` says
where both are.
"""

import os
import subprocess
import sys

from harness.cases import arguments
from harness.sources import source

PACKAGE = "kafka-python"
HERE = os.path.dirname(os.path.abspath(__file__))
# One case per area; the rest is for the full run.
QUICK = (
    "test_kafka_version_infer or test_idempotent_producer or test_kafka_consumer__offset_commit_resume"
    " or test_kafka_consumer_offsets_for_time or test_delete_groups or test_create_delete_topics"
    " or test_describe_configs or test_delete_records or test_proper_record_metadata"
)


def main():
    options = arguments()
    folder = source(PACKAGE)
    environment = os.environ | {
        "KAFKA_URI": f"kafka://{options.address}",
        # The release whose client-facing versions we advertise, as this client infers it.
        "KAFKA_VERSION": "4.3",
        # Must exist; nothing is started from it.
        "KAFKA_ROOT": folder,
        "PROJECT_ROOT": folder,
        "PYTHONPATH": os.pathsep.join([HERE, os.environ["PYTHONPATH"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        *(sys.executable, "-m", "pytest", "-p", "kafka_python_plugin", "-p", "harness.pytest_lines"),
        *("-p", "no:cacheprovider"),
        *("-o", "addopts=", "-o", "log_level=WARNING", "--timeout=90", "--tb=short", "-q"),
        os.path.join("test", "integration"),
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
