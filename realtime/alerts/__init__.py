"""Alerts on stream: a queue on the server, each alert shown once per group of overlays."""
