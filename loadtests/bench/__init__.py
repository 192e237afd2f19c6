"""Measurements beside a yardstick: a figure alone says nothing about another machine."""
