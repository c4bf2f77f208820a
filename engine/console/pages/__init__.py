"""The doors, by topic. A module here is found by itself: see `engine.console.doors`."""
