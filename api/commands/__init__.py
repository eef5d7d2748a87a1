"""The commands of `outpost`, each family of them in a file."""
