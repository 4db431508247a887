"""What queues and exchanges can do, with pika: limits, dead letters, consumers, routing, delays."""

import features_consumers  # noqa: F401
import features_dead_letters  # noqa: F401
import features_delays  # noqa: F401
import features_limits  # noqa: F401
import features_routing  # noqa: F401
import features_streams  # noqa: F401
from harness.cases import main
from peer import peer_at

# Cases mostly wait.
AT_ONCE = 8

if __name__ == "__main__":
    main(lambda function, address: function(peer_at(address)), at_once=AT_ONCE)
