"""Explicit-state models of the promise protocol, driving the rules' own code (cometkms/rules)."""
