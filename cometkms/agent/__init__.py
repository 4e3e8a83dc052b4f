"""The agent: a small process beside a validator that asks every node, so that a node which vanishes
costs a moment and not five seconds.
"""
