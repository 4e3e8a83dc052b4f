"""The core: one interface and its two implementations, C over cffi and its readable twin; `choose`
loads one of them.
"""
