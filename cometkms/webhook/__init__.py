"""Send alerts to a webhook: what is sent (outbox), in which form (message), and how (post). The
process is webhook/process.py."""
