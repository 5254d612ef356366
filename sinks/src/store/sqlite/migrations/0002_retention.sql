-- Since which day everything is kept; without a row, nothing was ever forgotten. Written before anything is deleted.
CREATE TABLE retention (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    kept_since TEXT NOT NULL
) STRICT;
