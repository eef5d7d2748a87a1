"""What the page hears without asking: the stream of events, and answers that come line by line."""
