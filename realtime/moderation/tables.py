"""Who looked at what a giver wants said, and by which rules."""
