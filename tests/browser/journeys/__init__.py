"""Journeys through a real deployment: people at their pages, nothing scripted but the fingers."""
