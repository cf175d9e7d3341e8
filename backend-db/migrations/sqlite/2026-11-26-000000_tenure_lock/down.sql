DROP TABLE IF EXISTS tenure_lock_share;
DROP TABLE IF EXISTS tenure_lock_meta;
DROP TABLE IF EXISTS tenure_lock;
