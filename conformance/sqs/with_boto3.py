"""boto3: every action, every rule, alone and together. The same cases run with a client of 2022 and with a new one."""

# Importing a module of cases registers them.
import cases_dead_letters  # noqa: F401
import cases_extensions  # noqa: F401
import cases_fifo  # noqa: F401
import cases_messages  # noqa: F401
import cases_queues  # noqa: F401
from client import Sqs
from harness.cases import main

# Cases mostly wait.
AT_ONCE = 6

if __name__ == "__main__":
    main(lambda function, address: function(Sqs(address)), at_once=AT_ONCE)
