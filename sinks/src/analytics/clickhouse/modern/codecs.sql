-- Offsets and times go up in small steps.
ALTER TABLE decisions
    MODIFY COLUMN log_offset UInt64 CODEC(Delta, ZSTD(1)),
    MODIFY COLUMN logged_at_ms Int64 CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN decided_at_ms Int64 CODEC(DoubleDelta, ZSTD(1))
