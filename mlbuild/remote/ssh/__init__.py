"""Machines that are reached through the system's own OpenSSH client."""
