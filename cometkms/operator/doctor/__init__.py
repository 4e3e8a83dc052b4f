"""`cmkms doctor`: look at everything a node needs, before it starts or after something went wrong,
and change nothing.

Facts are gathered by small functions that read; findings are made of them by pure ones. One file
per group of checks.
"""
