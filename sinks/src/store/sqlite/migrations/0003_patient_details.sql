-- What was given of the patients behind appointments, each field sealed and bound to its column and to the booking's ticket.
-- Keyed by the booking's record, as the appointment is. A table of its own: most bookings give nothing.
CREATE TABLE patient_details (
    partition INTEGER NOT NULL,
    log_offset INTEGER NOT NULL,
    ticket_id BLOB NOT NULL CHECK (length(ticket_id) = 16),
    name BLOB,
    phone BLOB,
    identity_number BLOB,
    PRIMARY KEY (partition, log_offset)
) STRICT, WITHOUT ROWID;
