"""The ways in: instances that peers hand over, or that are fetched from them."""
