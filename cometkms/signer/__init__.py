"""The room of the process that holds the key: a chain's critical section, its links, and what the
process gives up."""
