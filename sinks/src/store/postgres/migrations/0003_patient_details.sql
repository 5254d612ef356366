-- What was given of the patients behind appointments, each field sealed and bound to its column and to the booking's ticket.
-- Keyed by the booking's record, as the appointment is. A table of its own: most bookings give nothing, and whoever may read
-- appointments need not be given it.
CREATE TABLE patient_details (
    partition int NOT NULL,
    log_offset bigint NOT NULL,
    -- The day of the appointment, with which it goes.
    day date NOT NULL,
    ticket_id bytea NOT NULL CHECK (octet_length(ticket_id) = 16),
    name bytea,
    phone bytea,
    identity_number bytea,
    PRIMARY KEY (partition, log_offset)
);
CREATE INDEX patient_details_by_day ON patient_details (day);
