"""The whole cluster in one process, deterministically: real promises, Raft, signer and stores over
a simulated world.
"""
