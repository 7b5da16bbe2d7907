"""The services of the domain, a module for each use case."""

from freshly.domains.grocery.service.explaining import ExplanationService
from freshly.domains.grocery.service.from_meal import FromMealService
from freshly.domains.grocery.service.items import ItemService
from freshly.domains.grocery.service.lists import GroceryListing, ListService
from freshly.domains.grocery.service.normalizing import NormalizeService
from freshly.domains.grocery.service.rebuilding import RebuildService
from freshly.domains.grocery.service.syncing import SyncService

__all__ = [
    "ExplanationService",
    "FromMealService",
    "GroceryListing",
    "ItemService",
    "ListService",
    "NormalizeService",
    "RebuildService",
    "SyncService",
]
