"""Machines, and what can be done with each kind of them."""
