-- Which migrations this database has had.
CREATE TABLE IF NOT EXISTS schema_versions (
    version UInt32,
    applied_at DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY version
