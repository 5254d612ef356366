-- A keyed hash of the patient's id: equal for equal patients. NULL for what no patient asked, and in rows of older versions.
ALTER TABLE decisions ADD COLUMN patient Nullable(String)
