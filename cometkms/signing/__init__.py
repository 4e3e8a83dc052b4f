"""From a validator's request to its answer: one critical section per chain, one connection per validator."""
