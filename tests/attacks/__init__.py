"""What docs/THREATS.md says an attacker cannot do, tried: a payload inside a child of a real node,
and what comes of it.
"""
