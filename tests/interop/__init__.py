"""The gateway with software that others wrote, on loopback, with real objects."""
