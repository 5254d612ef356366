//! Primitives that are shared by threads, with a point before each operation.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LockResult, MutexGuard, TryLockError};

use arc_swap::Guard;

use crate::{is_exploring, point, thread};

/// [`std::sync::Mutex`].
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// [`std::sync::Mutex::new`].
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// [`std::sync::Mutex::lock`].
    ///
    /// # Errors
    /// When a thread panicked while it held the lock.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        loop {
            point();
            match self.0.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Err(poisoned),
                // The thread that holds it may be a turn away, on this very thread of the system.
                Err(TryLockError::WouldBlock) if is_exploring() => thread::yield_now(),
                Err(TryLockError::WouldBlock) => return self.0.lock(),
            }
        }
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty) => {
        /// The atomic of the same name in [`std::sync::atomic`].
        #[derive(Debug, Default)]
        pub struct $name(std::sync::atomic::$name);

        #[allow(missing_docs, reason = "they are std's")]
        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(std::sync::atomic::$name::new(value))
            }

            pub fn load(&self, order: Ordering) -> $value {
                point();
                self.0.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                point();
                self.0.store(value, order);
            }

            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                point();
                self.0.fetch_add(value, order)
            }

            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                point();
                self.0.fetch_sub(value, order)
            }

            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                point();
                self.0.fetch_max(value, order)
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                point();
                self.0.compare_exchange(current, new, success, failure)
            }

            pub fn try_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                point();
                self.0.try_update(set, fetch, update)
            }
        }
    };
}

atomic!(AtomicU64, u64);
atomic!(AtomicUsize, usize);

/// [`std::sync::atomic::fence`].
pub fn fence(order: Ordering) {
    point();
    std::sync::atomic::fence(order);
}

/// [`arc_swap::ArcSwap`].
#[derive(Debug)]
pub struct ArcSwap<T>(arc_swap::ArcSwap<T>);

impl<T> ArcSwap<T> {
    /// [`arc_swap::ArcSwapAny::from_pointee`].
    pub fn from_pointee(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    /// [`arc_swap::ArcSwapAny::load`].
    pub fn load(&self) -> Guard<Arc<T>> {
        point();
        self.0.load()
    }

    /// [`arc_swap::ArcSwapAny::store`].
    pub fn store(&self, value: Arc<T>) {
        point();
        self.0.store(value);
    }

    /// [`arc_swap::ArcSwapAny::rcu`]. What it was computed from may be replaced before it is put there.
    pub fn rcu<R: Into<Arc<T>>>(&self, mut make: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
        point();
        self.0.rcu(|before| {
            let made = make(before);
            point();
            made
        })
    }
}

/// [`tokio::sync::Notify`]. The point is behind a notification too: what was to be seen by then must be there.
#[derive(Debug, Default)]
pub struct Notify(tokio::sync::Notify);

impl Notify {
    /// [`tokio::sync::Notify::new`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// [`tokio::sync::Notify::notify_one`].
    pub fn notify_one(&self) {
        point();
        self.0.notify_one();
        point();
    }

    /// [`tokio::sync::Notify::notified`].
    pub fn notified(&self) -> impl Future<Output = ()> {
        point();
        self.0.notified()
    }
}

/// [`std::sync::mpsc`].
pub mod mpsc {
    use std::sync::mpsc::{SendError, TryRecvError};

    use crate::point;

    /// [`std::sync::mpsc::Sender`].
    #[derive(Debug)]
    pub struct Sender<T>(std::sync::mpsc::Sender<T>);

    /// [`std::sync::mpsc::Receiver`].
    #[derive(Debug)]
    pub struct Receiver<T>(std::sync::mpsc::Receiver<T>);

    /// [`std::sync::mpsc::channel`].
    #[must_use]
    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        (Sender(sender), Receiver(receiver))
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Sender<T> {
        /// [`std::sync::mpsc::Sender::send`].
        ///
        /// # Errors
        /// When the receiver is gone.
        pub fn send(&self, value: T) -> Result<(), SendError<T>> {
            point();
            self.0.send(value)
        }
    }

    impl<T> Receiver<T> {
        /// [`std::sync::mpsc::Receiver::try_recv`].
        ///
        /// # Errors
        /// When there is nothing, or all senders are gone.
        pub fn try_recv(&self) -> Result<T, TryRecvError> {
            point();
            self.0.try_recv()
        }
    }
}
