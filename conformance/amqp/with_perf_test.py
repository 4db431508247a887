"""PerfTest, RabbitMQ's load generator: usual command lines, each for a few seconds, and what they must come to."""

import os
import re
import subprocess
import sys

from harness import maven
from harness.cases import arguments

JARS = ("com.rabbitmq:perf-test:2.22.1", "org.slf4j:slf4j-nop:1.7.36")
RUN_SECONDS = 60
# Name: arguments, and how much it sends and receives at least, messages per second on average. Any broker that works at all
# does more: this is about whether it runs.
LINES = {
    "producer_and_consumer": ("-x 1 -y 1 -u {q} -z 5", 100, 100),
    "many_of_both": ("-x 4 -y 4 -u {q} -z 5 -r 200", 100, 100),
    "confirms_and_acks": ("-x 2 -y 2 -u {q} -z 5 -c 50 -q 50 -A 10 -f persistent", 100, 100),
    "one_confirm_at_a_time": ("-x 1 -y 1 -u {q} -z 5 -c 1", 10, 10),
    "auto_ack": ("-x 1 -y 2 -u {q} -z 5 -a", 100, 100),
    "large_messages": ("-x 1 -y 1 -u {q} -z 5 -s 65536 -c 10", 10, 10),
    "quorum_queue": ("-x 1 -y 1 -u {q} -z 5 --quorum-queue -c 100 -q 100", 100, 100),
    "stream": ("-x 1 -y 1 -u {q} -z 5 --stream-queue -c 100 -q 100", 100, 100),
    "transactions": ("-x 1 -y 1 -u {q} -z 5 -m 10 -n 10 -r 500", 10, 10),
    "topic_exchange_and_many_queues": ("-x 2 -y 4 -e perf-topic -t topic -k a.b --queue-pattern {q}-%d --queue-pattern-from 1 "
                                       "--queue-pattern-to 4 -z 5 -r 200", 50, 50),
    "variable_rates_and_sizes": ("-x 1 -y 1 -u {q} -z 6 --variable-rate 100:2 --variable-rate 400:2 --variable-size 100:2 "
                                 "--variable-size 5000:2", 50, 50),
    "nacks_that_requeue": ("-x 1 -y 1 -u {q} -z 5 -r 100 --nack --requeue true -q 10 -A 2", 10, 10),
    "polling": ("-x 1 -y 1 -u {q} -z 5 -r 100 --polling --polling-interval 5", 10, 10),
    "priorities_and_headers": ("-x 1 -y 1 -u {q} -z 5 -r 200 --queue-args x-max-priority=5 --message-properties "
                               "priority=3,contentType=text/plain,mine=yes", 50, 50),
    "a_counted_number": ("-x 1 -y 1 -u {q} -C 2000 -D 2000", 10, 10),
}


def rate(said, what):
    found = re.search(rf"{what} rate avg: ([\d,]+)", said)
    return int(found[1].replace(",", "")) if found else None


def run(path, address, name, line):
    """What is wrong with this line; nothing when it did what it should."""
    options, sent, received = line
    words = options.format(q=f"perf-{name}").split()
    command = ["java", "-cp", path, "com.rabbitmq.perf.PerfTest", "-h", f"amqp://guest:guest@{address}", *words]
    done = subprocess.run(command, timeout=RUN_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = rate(done.stdout, "sending"), rate(done.stdout, "receiving")
    if done.returncode == 0 and None not in found and found[0] >= sent and found[1] >= received:
        return None
    return f"exit code {done.returncode}, rates {found}: {' '.join(done.stdout.split())[-400:]}"


def main():
    options = arguments()
    if why := maven.missing():
        print(f"skip all: {why}")
        return 0
    path = os.path.join(maven.jars("perf-test", *JARS), "*")
    for name, line in LINES.items():
        if options.only in name:
            wrong = run(path, options.address, name, line)
            print(f"not ok {name}: {wrong}" if wrong else f"ok {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
