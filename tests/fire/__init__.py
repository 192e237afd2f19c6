"""Processes killed at named points of the payment path, and what must be true after they came back."""
