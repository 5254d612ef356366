//! Rows in PostgreSQL's binary COPY format, in pieces large enough that sending them costs little.

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type};

use super::error::Failure;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Bytes of a piece; tokio-postgres's own writer takes 4 kB, and a hand-over to the connection's task for each.
const PIECE_BYTES: usize = 128 * 1024;
/// More than a row of decisions has.
const ROW_BYTES: usize = 1_024;
const NULL: i32 = -1;

/// Rows of so many columns.
pub(super) struct Rows<'a, const COLUMNS: usize> {
    types: &'a [Type; COLUMNS],
    buffer: BytesMut,
}

impl<'a, const COLUMNS: usize> Rows<'a, COLUMNS> {
    pub(super) fn new(types: &'a [Type; COLUMNS]) -> Self {
        let mut buffer = BytesMut::with_capacity(PIECE_BYTES + ROW_BYTES);
        buffer.put_slice(SIGNATURE);
        // No flags, no extension of the header.
        buffer.put_i32(0);
        buffer.put_i32(0);
        Self { types, buffer }
    }

    /// Adds a row, and gives what is to be sent when that is enough.
    ///
    /// # Errors
    /// When a value does not fit its column's type.
    pub(super) fn push(&mut self, values: [&(dyn ToSql + Sync); COLUMNS]) -> Result<Option<Bytes>, Failure> {
        self.buffer.put_i16(i16::try_from(COLUMNS).expect("a table has at most 1,600 columns"));
        for (value, kind) in values.into_iter().zip(self.types) {
            let at = self.buffer.len();
            self.buffer.put_i32(NULL);
            if let IsNull::No = value.to_sql_checked(kind, &mut self.buffer).map_err(|error| unfit(kind, &*error))? {
                let length = self.buffer.len() - at - size_of::<i32>();
                let length = i32::try_from(length).map_err(|error| unfit(kind, &error))?;
                self.buffer[at..at + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok((self.buffer.len() >= PIECE_BYTES).then(|| {
            let full = self.buffer.split().freeze();
            self.buffer.reserve(PIECE_BYTES + ROW_BYTES);
            full
        }))
    }

    /// What is left, and the end.
    pub(super) fn end(mut self) -> Bytes {
        self.buffer.put_i16(-1);
        self.buffer.freeze()
    }
}

fn unfit(kind: &Type, error: &dyn std::fmt::Display) -> Failure {
    Failure::from(orderly_domain::port::Error::Corrupt(format!(
        "a value does not fit a column of type {kind}: {error}"
    )))
}
