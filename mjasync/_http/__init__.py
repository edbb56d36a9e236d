"""HTTP: one exchange, its deadlines, its failures, its retries."""
