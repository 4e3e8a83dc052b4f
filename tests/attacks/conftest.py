"""Nodes and validators that end with their test."""

from tests.e2e.conftest import make_node, make_receiver, make_validator

__all__ = ["make_node", "make_receiver", "make_validator"]
