"""franz-go's own suite: the tests of its client package, as its module has them."""

import os
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 500


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
    return golang.run_suite(os.path.join(HERE, "go"), "github.com/twmb/franz-go/pkg/kgo", variables=variables, seconds=SECONDS)


if __name__ == "__main__":
    sys.exit(main())
