"""Crowds from outside: they see only what a shopper sees, so they import nothing of ours."""
