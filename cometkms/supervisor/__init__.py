"""The supervisor: starts a node's processes, watches them, reloads them, ends them."""
