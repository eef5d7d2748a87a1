"""The platform's API: its contract, a client for it, and a server that implements it."""
