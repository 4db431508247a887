"""Other people's AMQP clients and suites against our broker: one line per suite, and one for all of them."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness.suites import Suite, main  # noqa: E402

SUITES = [
    # The long ones begin.
    Suite("lapin", "with_lapin.py", ours=False),
    Suite("aio-pika", "with_aio_pika.py", ours=False),
    Suite("aiormq", "with_aiormq.py", ours=False),
    Suite("celery", "with_celery.py"),
    Suite("py-amqp", "with_py_amqp.py", ours=False),
    Suite("wire", "with_wire.py"),
    Suite("features", "with_features.py"),
    Suite("pika", "with_pika.py", ours=False),
    Suite("amqp-tools", "with_tools.py"),
    Suite("librabbitmq", "with_c.py"),
    Suite("amqplib", "with_amqplib.js", interpreter="node"),
    Suite("php-amqplib", "with_php.py"),
    Suite("bunny", "with_ruby.py"),
    Suite("go", "with_go.py"),
    Suite("java", "with_java.py"),
]

# Suites mostly wait for times to pass.
AT_ONCE = 3

if __name__ == "__main__":
    sys.exit(main(HERE, "amqp", SUITES, AT_ONCE))
