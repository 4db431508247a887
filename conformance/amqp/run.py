"""Other people's AMQP clients and suites against our broker: one line per suite, and one for all of them."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness.suites import Suite, main  # noqa: E402

# Whoever is not known is to be refused, as the suites expect it.
USERS = {"FOREBAY__AMQP__CREDENTIALS_FILE": os.path.join(HERE, "credentials")}

SUITES = [
    # The long ones begin.
    Suite("lapin", "with_lapin.py", ours=False, settings=USERS),
    Suite("aio-pika", "with_aio_pika.py", ours=False, settings=USERS),
    Suite("aiormq", "with_aiormq.py", ours=False, settings=USERS),
    Suite("celery", "with_celery.py", settings=USERS),
    Suite("py-amqp", "with_py_amqp.py", ours=False, settings=USERS),
    Suite("wire", "with_wire.py", settings=USERS),
    Suite("features", "with_features.py", settings=USERS),
    Suite("pika", "with_pika.py", ours=False, settings=USERS),
    Suite("amqp-tools", "with_tools.py", settings=USERS),
    Suite("librabbitmq", "with_c.py", settings=USERS),
    Suite("amqplib", "with_amqplib.js", interpreter="node", settings=USERS),
    Suite("php-amqplib", "with_php.py", settings=USERS),
    Suite("bunny", "with_ruby.py", settings=USERS),
    Suite("go", "with_go.py", settings=USERS),
    Suite("amqp091-go", "with_amqp091_go.py", ours=False, full_only=True, settings=USERS),
    Suite("java", "with_java.py", settings=USERS),
    Suite("java-functional", "with_java_suite.py", ours=False, full_only=True, settings=USERS),
    Suite("spring", "with_spring.py", full_only=True, settings=USERS),
    Suite("perf-test", "with_perf_test.py", full_only=True, settings=USERS),
    Suite("definitions", "with_definitions.py", own_broker=True),
    Suite("readme", "with_readme.py", settings=USERS),
]

# Suites mostly wait for times to pass.
AT_ONCE = 3

if __name__ == "__main__":
    sys.exit(main(HERE, "amqp", SUITES, AT_ONCE))
