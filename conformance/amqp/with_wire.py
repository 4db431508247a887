"""Our own cases on a plain socket: what clients rely on and no client tests, with the exact words of every refusal."""

import wire_channels  # noqa: F401
import wire_errors  # noqa: F401
import wire_handshake  # noqa: F401
from harness.cases import main
from peer import peer_at

# Some cases wait for seconds; the broker is hardly busy.
AT_ONCE = 6

if __name__ == "__main__":
    main(lambda function, address: function(peer_at(address)), at_once=AT_ONCE)
