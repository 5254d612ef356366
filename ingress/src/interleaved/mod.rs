//! The turns that threads may take where they share memory: whoever waits for a decision hears of it, and a policy is swapped
//! while requests pass.

mod throttle;
mod waiters;
