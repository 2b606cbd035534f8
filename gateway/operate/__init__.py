"""What the people who run the gateway look at: logs, health, metrics."""
