"""What a child gets from its supervisor: its loop, its queues, its helpers, its word to a service
manager."""
