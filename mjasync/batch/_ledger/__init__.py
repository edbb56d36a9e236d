"""The ledger: a database of jobs, in SQLite or PostgreSQL."""
