"""The story of a message: intake → store → translate → store → deliver → store. The stages never call one another."""
