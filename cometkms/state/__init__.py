"""The room of the process that promises: acceptor and proposer, one node among its members, peers,
and the replicated log.
"""
