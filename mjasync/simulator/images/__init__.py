"""Simulated images: where they are stored, and how they are drawn."""
