"""Locks of Python libraries: driver.py CLIENT URL, then a verb and the name of a lock in each line.

Answers yes or no, done where the library does not say, none where it cannot, a text, or an error. A number after
the name makes the lock anew, for so many seconds.
"""

import logging
import sys
import time
import warnings

LIFE = 60


class RedisPy:
    def __init__(self, url):
        import redis

        self.errors = redis.exceptions.LockError
        self.redis = redis.Redis.from_url(url)

    def make(self, name):
        return self.redis.lock(name, timeout=LIFE)

    def acquire(self, lock):
        return lock.acquire(blocking=False)

    def release(self, lock):
        return self.unless_raised(lock.release)

    def extend(self, lock):
        return self.unless_raised(lambda: lock.extend(LIFE))

    def owned(self, lock):
        return lock.owned()

    def unless_raised(self, action):
        try:
            action()
        except self.errors:
            return False
        return True


class PythonRedisLock(RedisPy):
    def __init__(self, url):
        super().__init__(url)
        import redis_lock

        self.errors = (redis_lock.NotAcquired, redis_lock.NotExpirable)
        self.lock = redis_lock.Lock

    def make(self, name):
        return self.lock(self.redis, name, expire=LIFE)

    def owned(self, lock):
        return lock.get_owner_id() == lock.id


class Pottery(RedisPy):
    def __init__(self, url):
        super().__init__(url)
        import pottery

        self.errors = (pottery.ReleaseUnlockedLock, pottery.ExtendUnlockedLock)
        self.lock = pottery.Redlock

    def make(self, name):
        return self.lock(key=name, masters={self.redis}, auto_release_time=LIFE, raise_on_redis_errors=True)

    def extend(self, lock):
        return self.unless_raised(lock.extend)

    def owned(self, lock):
        return lock.locked() > 0


class Django:
    def __init__(self, url, backend, **options):
        from django.conf import settings

        settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": url, **options}})
        import django_lock

        self.lock = django_lock.lock
        self.warning = django_lock.LockWarning

    def make(self, name, life=LIFE):
        return self.lock(name, timeout=life, blocking=False, release_on_del=False, thread_local=False)

    def acquire(self, lock):
        return lock.acquire()

    def release(self, lock):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", self.warning)
            lock.release()
        return not any(issubclass(warning.category, self.warning) for warning in said)

    def extend(self, lock):
        return None

    def owned(self, lock):
        return lock.owned


class DjangoRedis(Django):
    def __init__(self, url, backend):
        super().__init__(url, backend, KEY_PREFIX="shop", VERSION=2)


class DjangoMemcached(Django):
    """With the cache's defaults, where keys begin with `:1:`."""

    def __init__(self, url, backend):
        # That Django 3 gives python-memcached up, and that lifetimes are cut.
        warnings.simplefilter("ignore")
        super().__init__(url, backend)

    def value(self, lock):
        return lock.client.get(lock.key)

    def hesitate(self, lock):
        """Releases, and says `read` and waits for a line after it has compared the token."""
        cache = lock.client
        lock.client = Hesitating(cache)
        try:
            return self.release(lock)
        finally:
            lock.client = cache


class Hesitating:
    def __init__(self, cache):
        self.cache = cache

    def get(self, key):
        value = self.cache.get(key)
        print("read", flush=True)
        sys.stdin.readline()
        return value

    def delete(self, key):
        return self.cache.delete(key)


CLIENTS = {
    "redis-py": RedisPy,
    "python-redis-lock": PythonRedisLock,
    "pottery": Pottery,
    "django-redis": lambda url: DjangoRedis(url, "django_redis.cache.RedisCache"),
    "django-redis-cache": lambda url: DjangoRedis(url, "redis_cache.RedisCache"),
    "django-rediscache": lambda url: DjangoRedis(url, "django.core.cache.backends.redis.RedisCache"),
    "python-memcached": lambda url: DjangoMemcached(url, "django.core.cache.backends.memcached.MemcachedCache"),
    "pymemcache": lambda url: DjangoMemcached(url, "django.core.cache.backends.memcached.PyMemcacheCache"),
}


def said(answer):
    if isinstance(answer, str):
        return answer
    return "none" if answer is None else "yes" if answer else "no"


def wait(client, lock):
    """As those do that ask again and again; none of them is told when a lock becomes free."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if client.acquire(lock):
            return True
        time.sleep(0.05)
    return False


def main():
    logging.disable()
    client = CLIENTS[sys.argv[1]](sys.argv[2])
    locks = {}
    for line in sys.stdin:
        verb, name, *life = line.split()
        try:
            if life or name not in locks:
                locks[name] = client.make(name, *map(float, life))
            lock = locks[name]
            answer = wait(client, lock) if verb == "wait" else getattr(client, verb)(lock)
            print(said(answer), flush=True)
        except Exception as error:
            print(f"error {type(error).__name__}: {error}".replace("\n", " "), flush=True)


main()
