"""Power cuts for SQLite: what a run of the store does to its disk is recorded, and cut off again and again.

`workload` is the run, `disk.c` records it, `images` makes what a power cut may leave of it, `verdict` opens that with the
engine's own recovery and compares it with what had been acknowledged.
"""
