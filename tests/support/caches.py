"""Caches as processes have them, without the processes."""

from freshly.chassis.cache.body import CachedBody, etag_of
from freshly.chassis.cache.redis_entries import RedisEntries
from freshly.chassis.cache.redis_versions import RedisVersions
from freshly.chassis.cache.store import Cache, LocalEntries
from freshly.chassis.cache.versions import MemoryVersions
from freshly.chassis.redis.client import CommandBatcher, RedisClient


def cached_body(body):
    return CachedBody(body, etag_of(body))


def caches(number, redis_url=None):
    if redis_url is None:
        return [Cache(MemoryVersions(), LocalEntries())], []
    clients = [RedisClient(redis_url) for _ in range(number)]
    prefix = f"test{id(clients)}"
    made = [
        Cache(
            RedisVersions(client, CommandBatcher(client), prefix),
            RedisEntries(client, prefix + "e", "secret"),
        )
        for client in clients
    ]
    return made, clients
