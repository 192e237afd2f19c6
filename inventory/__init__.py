"""Goods: here a unit is admitted or refused, so that no unit can ever be sold twice."""
