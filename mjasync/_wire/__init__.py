"""The wire: URLs, one exchange, replies, JSON, retries. Knows nothing of Tasks."""
