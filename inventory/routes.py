"""The goods' part of the API under one roof: products, offers with their stock, a stream's life, the storefront."""

from typing import Final

from fastapi import APIRouter

from inventory import offering, products, sale_life, split_preview, storefront

router: Final = APIRouter(prefix="/v1")
router.include_router(products.router)
router.include_router(offering.router)
router.include_router(split_preview.router)
router.include_router(sale_life.router)
router.include_router(storefront.router)
