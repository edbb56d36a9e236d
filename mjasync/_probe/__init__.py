"""The probe: what kind of server this is, and which of its endpoints work."""
