"""Locks of Python libraries: driver.py CLIENT URL, then a verb and the name of a lock in each line.

Answers yes or no, done where the library does not say, none where it cannot, or an error.
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
    def __init__(self, url, backend):
        from django.conf import settings

        cache = {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "shop", "VERSION": 2}
        settings.configure(CACHES={"default": cache})
        import django_lock

        self.lock = django_lock.lock
        self.warning = django_lock.LockWarning

    def make(self, name):
        return self.lock(name, timeout=LIFE, blocking=False, release_on_del=False, thread_local=False)

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


CLIENTS = {
    "redis-py": RedisPy,
    "python-redis-lock": PythonRedisLock,
    "pottery": Pottery,
    "django-redis": lambda url: Django(url, "django_redis.cache.RedisCache"),
    "django-redis-cache": lambda url: Django(url, "redis_cache.RedisCache"),
    "django-rediscache": lambda url: Django(url, "django.core.cache.backends.redis.RedisCache"),
}


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
        verb, name = line.split()
        try:
            if name not in locks:
                locks[name] = client.make(name)
            lock = locks[name]
            answer = wait(client, lock) if verb == "wait" else getattr(client, verb)(lock)
            print("none" if answer is None else "yes" if answer else "no", flush=True)
        except Exception as error:
            print(f"error {type(error).__name__}: {error}".replace("\n", " "), flush=True)


main()
