"""CometKMS: a key management service for CometBFT validators."""

__version__ = "0.1.0"
