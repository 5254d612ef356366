-- Since which day everything is kept; without a row, nothing was ever forgotten. Written before anything is dropped.
CREATE TABLE retention (
    only_row boolean PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    kept_since date NOT NULL
);
