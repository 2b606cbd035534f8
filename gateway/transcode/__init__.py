"""Change of transfer syntax: what may be asked for, which decoder serves, and the doing of it."""
