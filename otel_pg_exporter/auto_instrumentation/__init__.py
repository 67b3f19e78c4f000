"""A program that nobody edited: what starts with it, and sets up the SDK in it."""
