"""Rehearsals: the night of an earlier stream, played once more over topics of their own."""
