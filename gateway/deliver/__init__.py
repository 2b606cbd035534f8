"""Deliveries to destinations: when to try, over which session, and what came of it."""
