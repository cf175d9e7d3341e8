-- Locks: one row for each name that was ever asked for, until it has long been unused.
-- Moments are microseconds of the host's clock since its boot, fences and dates microseconds since 1970.
CREATE TABLE IF NOT EXISTS tenure_lock (
    name BLOB NOT NULL PRIMARY KEY,         -- the key, or a short form of it
    whole BLOB,                             -- the whole key, if name is a short form
    token BLOB NOT NULL DEFAULT x'',        -- whose it is; nothing if nobody's
    fence INTEGER NOT NULL DEFAULT 0,       -- the last fence that was given
    ends INTEGER NOT NULL DEFAULT 0,        -- when it is free
    granted INTEGER NOT NULL DEFAULT 0,     -- since when it is held
    label BLOB NOT NULL DEFAULT x'',        -- who has it, for people
    state INTEGER NOT NULL DEFAULT 0,       -- 1 while it is closed because it was taken away by force
    loser BLOB NOT NULL DEFAULT x'',        -- from whom it was taken away last
    reason BLOB NOT NULL DEFAULT x'',       -- and why
    wanted INTEGER NOT NULL DEFAULT 0,      -- until when somebody is known to wait who wants it alone
    awaited INTEGER NOT NULL DEFAULT 0,     -- until when somebody is known to wait
    boot BLOB NOT NULL DEFAULT x''          -- the boot under which moments count
) WITHOUT ROWID;

-- Readers of locks, and those who have permits: one row for each, until some time after it has let go.
CREATE TABLE IF NOT EXISTS tenure_lock_share (
    name BLOB NOT NULL,                     -- the lock
    token BLOB NOT NULL,                    -- whose share it is
    fence INTEGER NOT NULL,                 -- the fence that was given with it
    ends INTEGER NOT NULL,                  -- when it is free
    granted INTEGER NOT NULL,               -- since when it is held
    label BLOB NOT NULL,                    -- who has it, for people
    kind INTEGER NOT NULL,                  -- 2 for readers, 3 for permits, as the state of the lock is then
    state INTEGER NOT NULL DEFAULT 0,       -- 1 if it was taken away by force, 7 to 9 if it was let go of
    boot BLOB NOT NULL,                     -- the boot under which moments count
    PRIMARY KEY (name, token)
) WITHOUT ROWID;

-- One row: the version of these tables, and the highest fence of names that were forgotten.
CREATE TABLE IF NOT EXISTS tenure_lock_meta (
    id INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    last_fence INTEGER NOT NULL
);

INSERT INTO tenure_lock_meta (id, version, last_fence) VALUES (1, 1, 0) ON CONFLICT (id) DO NOTHING;
