//! Turns: work that one process at a time does, while others stand by.

/// Whether it is this process's turn.
pub trait Turn: Send + Sync + 'static {
    /// Whether it is, as far as this process knows. It may learn a moment late that its turn is over, so what is done in turns
    /// must do no harm when two do it at once.
    fn is_ours(&self) -> bool;
}
