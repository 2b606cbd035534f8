"""The gateway killed between the steps of the durable order, and what is there afterwards."""
