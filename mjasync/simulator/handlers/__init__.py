"""Handlers of the simulated server's endpoints, one module for each group."""
