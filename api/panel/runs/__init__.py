"""Runs: lists of them, what is in them, and starting them."""
