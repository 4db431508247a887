"""The Java client's own functional suite against our broker.

The Java registry has the client but not its tests, so it runs only where `FOREBAY_RABBITMQ_JAVA_SOURCE` names a checkout of
the client's repository, branch `v5.x`. The tests are compiled against the client from the registry.
"""

import glob
import os
import subprocess
import sys
import tempfile

from harness import maven
from harness.cases import arguments
from harness.relay import Relay

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = (
    "com.rabbitmq:amqp-client:5.37.1", "io.netty:netty-handler:4.2.17.Final", "io.dropwizard.metrics:metrics-core:4.2.39",
    "io.micrometer:micrometer-core:1.17.0", "org.assertj:assertj-core:3.27.7", "org.mockito:mockito-core:5.23.0",
    "org.junit.jupiter:junit-jupiter:5.14.4", "org.junit.platform:junit-platform-launcher:1.14.4",
    "org.junit.platform:junit-platform-suite:1.14.4", "com.google.code.gson:gson:2.14.0", "org.slf4j:slf4j-nop:1.7.36",
)
# The tests know no other port.
PORT = 5672
SECONDS = 590
# What is no test by itself, or measures nothing but the client.
LEFT_OUT = ("Suite", "Base", "AbstractRejectTest", "MicrometerObservationCollectorMetrics")
# Cases that restart their broker with rabbitmqctl and, where that fails, leave a durable queue to those that follow.
RESTARTING = "restartingExpiry|connectionRecoveryWithServerRestart|clientNamedTransientAutoDelete.*|serverNamedTransient.*"
# Of the tests that are not in the functional folder those that need only a broker.
MORE = {
    "": ("Bug20004Test", "RpcTest", "CloseInMainLoop", "QueueingConsumerTests", "LambdaCallbackTest", "SharedThreadPoolTest",
         "ChannelAsyncCompletableFutureTest", "IoDeadlockOnConnectionClosing"),
    "server": ("AlternateExchangeEquivalence", "ChannelLimitNegotiation", "XDeathHeaderGrowth", "PriorityQueues"),
}


def classes(tests):
    """The names of the test classes."""
    package = "com.rabbitmq.client.test"
    files = sorted(glob.glob(os.path.join(tests, *package.split("."), "functional", "*.java")))
    names = [os.path.splitext(os.path.basename(file))[0] for file in files]
    found = [f"{package}.functional.{name}" for name in names if not name.endswith(LEFT_OUT)]
    for folder, more in MORE.items():
        found += [".".join(part for part in (package, folder, name) if part) for name in more]
    return found


def main():
    options = arguments()
    source = os.environ.get("FOREBAY_RABBITMQ_JAVA_SOURCE")
    if why := maven.missing():
        print(f"skip all: {why}")
        return 0
    if not source:
        print("skip all: the Java registry has no tests of the client; FOREBAY_RABBITMQ_JAVA_SOURCE may name a checkout")
        return 0
    try:
        relay = Relay(PORT, options.address)
    except OSError as error:
        print(f"skip all: port {PORT} cannot be listened on: {error}")
        return 0
    tests = os.path.join(os.path.abspath(source), "src", "test", "java")
    wanted = [name for name in classes(tests) if options.only in name]
    jars = os.path.join(maven.jars("rabbitmq-functional", *JARS), "*")
    with tempfile.TemporaryDirectory() as built, relay:
        files = [os.path.join(tests, *name.split(".")) + ".java" for name in wanted]
        compiling = ["javac", "-nowarn", "-proc:none", "-d", built, "-cp", jars, "-sourcepath", tests]
        subprocess.run([*compiling, *files, os.path.join(HERE, "java", "Suites.java")], check=True, timeout=SECONDS,
                       stderr=subprocess.STDOUT)
        path = os.pathsep.join([built, jars])
        # There is no rabbitmqctl; what calls it fails at once.
        running = ["java", f"-Dwithout={RESTARTING}", "-Drabbitmqctl.bin=false", "-Dtest-broker.A.nodename=none", "-Dio.layer=socket", "-cp", path]
        return subprocess.run([*running, "Suites", *wanted], timeout=SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
