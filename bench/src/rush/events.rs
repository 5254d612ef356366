//! Reads the outcome out of a ticket's stream.

/// The longest part of an event that is kept, in bytes; a ticket is much shorter.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Finds the `outcome` in a stream of server-sent events that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    unread: Vec<u8>,
    is_outcome: bool,
    data: String,
}

impl EventReader {
    /// Takes a piece in; the data of the `outcome` event once it is complete.
    pub(super) fn outcome(&mut self, piece: &[u8]) -> Option<String> {
        self.unread.extend_from_slice(piece);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("event:") {
                self.is_outcome = name.trim() == "outcome";
            } else if let Some(data) = line.strip_prefix("data:") {
                data.trim().clone_into(&mut self.data);
            } else if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.is_outcome) {
                    return Some(data);
                }
            }
        }
        self.unread.truncate(EVENT_BYTES_MAX);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_outcome_however_it_is_cut() {
        let stream = b": hello\n\nid: 1\nevent: position\ndata: {\"position\":3}\n\nid: 2\nevent: outcome\ndata: {\"ticket\":\"t\"}\n\n";
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let found = stream.chunks(size).find_map(|piece| reader.outcome(piece));
            assert_eq!(found.as_deref(), Some("{\"ticket\":\"t\"}"), "pieces of {size}");
        }
        assert_eq!(EventReader::default().outcome(b"event: position\ndata: {}\n\n"), None);
    }
}
