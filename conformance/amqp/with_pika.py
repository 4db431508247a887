"""pika's own acceptance suite, every adapter of it, against our broker.

No distribution of pika holds its suite, so it runs only where `FOREBAY_PIKA_SOURCE` names a checkout of pika. It is
that checkout's client, then, that is tested.
"""

import os
import sys

from harness import their_suite
from harness.cases import arguments

QUICK = "blocking_adapter_test or test_with_select_default or test_with_asyncio"


def main():
    options = arguments()
    folder = os.environ.get("FOREBAY_PIKA_SOURCE")
    if not folder:
        print("skip all: pika's distributions leave its suite out; FOREBAY_PIKA_SOURCE may name a checkout")
        return 0
    return their_suite.run(
        os.path.abspath(folder),
        "pika_plugin",
        [os.path.join("tests", "acceptance")],
        only=options.only or (QUICK if options.quick else None),
        environment={"AMQP_ADDRESS": options.address},
        options=("-o", "python_files=*_test.py *_tests.py"),
    )


if __name__ == "__main__":
    sys.exit(main())
