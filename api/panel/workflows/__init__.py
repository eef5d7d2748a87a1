"""Workflows, their versions and covers, and the graph that is open in the page."""
