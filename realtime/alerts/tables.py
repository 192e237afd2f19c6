"""Alerts, and which group of overlays has shown which."""
