"""What operators and monitors read over HTTP: /healthz and /status. Reads the status board only; never sees a key."""
