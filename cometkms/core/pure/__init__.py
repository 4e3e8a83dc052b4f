"""The pure-Python core: the readable twin of the C core, with the same answers (`core`).

A node with the C core uses a few of these modules (a hash, records, fields of messages) and loads
no other.
"""
