"""What operators and monitors read over HTTP: /healthz, /status and /metrics. Reads the status
board only; never sees a key."""
