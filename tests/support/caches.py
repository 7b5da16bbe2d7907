"""Caches as processes have them, without the processes."""

from freshly.chassis.cache.redis_versions import RedisVersions
from freshly.chassis.cache.store import Cache, MemoryVersions, NotShared
from freshly.chassis.redis.client import Courier, Link, RedisEntries
from freshly.chassis.web.etags import Kept, digest


def kept(body):
    return Kept(body, digest(body))


def caches(number, redis_url=None):
    if redis_url is None:
        return [Cache(MemoryVersions(), NotShared())], []
    links = [Link(redis_url) for _ in range(number)]
    prefix = f"test{id(links)}"
    made = [
        Cache(RedisVersions(link, Courier(link), prefix), RedisEntries(link, prefix + "e"))
        for link in links
    ]
    return made, links
