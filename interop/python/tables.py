"""Keys of Django's cache in a database: tables.py ENGINE HOST PORT USER DATABASE TABLE, then a verb and its words in each line.

Says yes or no: `create`, `add NAME OWNER SECONDS`, `owner NAME OWNER`, `delete NAME`. A lock of django-cache-lock
is a key that was added; its value is the owner.
"""

import sys

import django
from django.conf import settings

engine, host, port, user, database, table = sys.argv[1:]
if engine == "mysql":
    # Django asks for mysqlclient, which is compiled; this one stands in for it.
    import pymysql

    pymysql.install_as_MySQLdb()
settings.configure(
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends." + engine,
            "NAME": database,
            "USER": user,
            "HOST": host,
            "PORT": port,
        }
    },
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": table,
            "KEY_PREFIX": "shop",
            "VERSION": 2,
        }
    },
)
django.setup()

from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402


def create():
    call_command("createcachetable", verbosity=0)
    return True


def add(name, owner, seconds):
    return cache.add("lock:" + name, owner, int(seconds))


def owner(name, owner):
    return cache.get("lock:" + name) == owner


def delete(name):
    return cache.delete("lock:" + name)


for line in sys.stdin:
    verb, *words = line.split()
    print("yes" if globals()[verb](*words) else "no", flush=True)
