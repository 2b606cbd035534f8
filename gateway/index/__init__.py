"""The index of what is held by study, series and instance, for queries (PS3.18 §10.6)."""
