-- Locks: one row for each name that was ever asked for, until it has long been unused.
-- Moments, fences and dates are microseconds since 1970 by the server's clock.
CREATE TABLE IF NOT EXISTS tenure_lock (
    name varbinary(255) NOT NULL PRIMARY KEY,   -- the key, or a short form of it
    whole mediumblob,                           -- the whole key, if name is a short form
    token varbinary(16) NOT NULL DEFAULT '',    -- whose it is; nothing if nobody's
    fence bigint NOT NULL DEFAULT 0,            -- the last fence that was given
    ends bigint NOT NULL DEFAULT 0,             -- when it is free
    granted bigint NOT NULL DEFAULT 0,          -- since when it is held
    label varbinary(255) NOT NULL DEFAULT '',   -- who has it, for people
    state bigint NOT NULL DEFAULT 0,            -- 1 while it is closed because it was taken away by force
    loser varbinary(16) NOT NULL DEFAULT '',    -- from whom it was taken away last
    reason varbinary(255) NOT NULL DEFAULT '',  -- and why
    wanted bigint NOT NULL DEFAULT 0,           -- until when somebody is known to wait who wants it alone
    awaited bigint NOT NULL DEFAULT 0           -- until when somebody is known to wait
) ENGINE = InnoDB;

-- Readers of locks, and those who have permits: one row for each, until some time after it has let go.
CREATE TABLE IF NOT EXISTS tenure_lock_share (
    name varbinary(255) NOT NULL,               -- the lock
    token varbinary(16) NOT NULL,               -- whose share it is
    fence bigint NOT NULL,                      -- the fence that was given with it
    ends bigint NOT NULL,                       -- when it is free
    granted bigint NOT NULL,                    -- since when it is held
    label varbinary(255) NOT NULL,              -- who has it, for people
    kind bigint NOT NULL,                       -- 2 for readers, 3 for permits, as the state of the lock is then
    state bigint NOT NULL DEFAULT 0,            -- 1 if it was taken away by force, 7 to 9 if it was let go of
    PRIMARY KEY (name, token)
) ENGINE = InnoDB;

-- One row: the version of these tables, and the highest fence of names that were forgotten.
CREATE TABLE IF NOT EXISTS tenure_lock_meta (
    id bigint NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    last_fence bigint NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO tenure_lock_meta (id, version, last_fence) VALUES (1, 1, 0);

-- At most one row: when locks open after a start of the server, which empties a table in memory.
CREATE TABLE IF NOT EXISTS tenure_lock_guard (
    id bigint NOT NULL PRIMARY KEY,
    opens bigint NOT NULL
) ENGINE = MEMORY;
