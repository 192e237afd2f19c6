"""The catalogue of a request, typed: what the roof put there for all who read what is on sale."""

from typing import cast

from fastapi import Request

from inventory.offers import Catalogue


def catalogue_of(request: Request) -> Catalogue:
    """Return the streams and offers as this process last read them."""
    return cast("Catalogue", request.state.catalogue)
