"""Polling: one timer and one queue decide when to fetch which task."""
