"""The platform server, tested over real sockets with a real database and real files."""
