"""franz-go's own suite: the tests of its client package, as its module has them."""

import os
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 500
# Where transactions are refused it waits for what it could not produce, without end.
ENDLESS = "TestTxnEtl"


def main():
    options = arguments()
    if why := golang.missing():
        print(f"skip all: {why}")
        return 0
    variables = {
        "KGO_SEEDS": options.address,
        # How much its long test produces; there is one broker.
        "KGO_TEST_RECORDS": "50000",
        "KGO_TEST_RF": "1",
    }
    print(f"skip {ENDLESS}: transactions are refused", flush=True)
    return golang.run_suite(os.path.join(HERE, "go"), "github.com/twmb/franz-go/pkg/kgo", variables=variables, seconds=SECONDS,
                            options=(f"-skip=^{ENDLESS}$",))


if __name__ == "__main__":
    sys.exit(main())
