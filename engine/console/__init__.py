"""The web console and its REST API: a process of its own, that reads the store and acts through `operations`."""
