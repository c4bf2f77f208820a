"""What people do to a running engine, and how their commands reach it."""
