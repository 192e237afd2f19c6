"""Answers about money and orders: whoever sees a number can have it explained down to single entries."""
