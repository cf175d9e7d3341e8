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
    awaited INTEGER NOT NULL DEFAULT 0,     -- until when somebody is known to wait
    boot BLOB NOT NULL DEFAULT x''          -- the boot under which moments count
) WITHOUT ROWID;

-- One row: the version of these tables, and the highest fence of names that were forgotten.
CREATE TABLE IF NOT EXISTS tenure_lock_meta (
    id INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    last_fence INTEGER NOT NULL
);

INSERT INTO tenure_lock_meta (id, version, last_fence) VALUES (1, 1, 0) ON CONFLICT (id) DO NOTHING;
