"""The protocol, without I/O: URLs, payloads, decoding, replies, buttons."""
