"""Campaigns: faults injected again and again under load, and an oracle that compares what everybody wrote down."""
