"""Routing: which destinations an instance is owed to, and why. Pure: no I/O, no clock."""
