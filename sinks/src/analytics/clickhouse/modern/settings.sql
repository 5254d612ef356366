-- What was taken survives a loss of power, and old rows go by whole parts.
ALTER TABLE decisions MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1
