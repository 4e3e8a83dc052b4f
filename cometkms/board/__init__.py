"""The status board: shared memory with one writer a section, what its sections hold, and reading
what nobody vouches for."""
