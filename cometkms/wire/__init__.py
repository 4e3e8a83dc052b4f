"""Every byte format once: handshakes, dialects, the messages of peers, agents and queues. Bytes in,
bytes out, no I/O."""
