"""`make bench`: micro (C against pure Python) and end to end (one node against the fsync floor).

See docs/PERFORMANCE.md.
"""
