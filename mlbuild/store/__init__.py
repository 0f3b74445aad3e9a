"""Bytes by Digest and Results by Key."""
