"""Nothing a stranger wrote is shown before somebody looked at it."""
