"""Frames as pictures for people: Modality LUT, VOI LUT and presentation (PS3.4 §N.2)."""
