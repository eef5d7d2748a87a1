"""A platform in one process: the API over a database, an object store and machines."""
