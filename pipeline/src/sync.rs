//! What threads share where their turns are tried (`interleaved`): in a build the primitives themselves, in unit tests the
//! same with points at which another thread may go on.

#[cfg(not(test))]
pub(crate) use std::sync::mpsc;
#[cfg(not(test))]
pub(crate) use tokio::sync::Notify;

#[cfg(test)]
pub(crate) use orderly_interleave::{
    spawn,
    sync::{Notify, mpsc},
};

/// Starts a task.
#[cfg(not(test))]
pub(crate) fn spawn(tasks: &tokio::runtime::Handle, task: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(task);
}
