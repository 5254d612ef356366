//! What each client address holds at once, so that no single one takes the room of all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;

use crate::throttle::network;

/// Below this many addresses the map keeps the memory it has.
const ROOM_MIN: usize = 1_024;

/// How many places each address holds. An address that holds none is not remembered, so there are never more addresses
/// than places.
#[derive(Debug)]
pub(crate) struct Addresses {
    held: Mutex<HashMap<u128, usize>>,
    each_max: usize,
    gauge: IntGauge,
}

impl Addresses {
    pub(crate) fn new(each_max: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), each_max, gauge })
    }

    /// A place for an address; `None` when it holds as many as it may.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut held = self.lock();
        match held.get_mut(&network) {
            Some(count) if *count >= self.each_max => return None,
            Some(count) => *count += 1,
            None if self.each_max == 0 => return None,
            None => {
                held.insert(network, 1);
                self.gauge.inc();
            }
        }
        Some(Place { addresses: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        // The map is whole between any two statements, so a panic elsewhere does not spoil it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of an address's places; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Place {
    addresses: Arc<Addresses>,
    network: u128,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.addresses.lock();
        if let Some(count) = held.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.network);
                self.addresses.gauge.dec();
                // A flood of addresses passes, and its memory with it.
                if held.len() < held.capacity() / 4 {
                    let room = (held.len() * 2).max(ROOM_MIN);
                    held.shrink_to(room);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(each_max: usize) -> Arc<Addresses> {
        Addresses::new(each_max, IntGauge::new("a", "a").unwrap())
    }

    fn v4(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn each_address_has_so_many_places_and_gets_them_back() {
        let addresses = addresses(2);
        let (first, second) = (addresses.take(v4(1)), addresses.take(v4(1)));
        assert!(first.is_some() && second.is_some() && addresses.take(v4(1)).is_none());
        assert!(addresses.take(v4(2)).is_some());
        drop(second);
        assert!(addresses.take(v4(1)).is_some());
        drop(first);
        assert_eq!((addresses.gauge.get(), addresses.lock().len()), (0, 0));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let addresses = addresses(1);
        let _first = addresses.take("2001:db8::1".parse().unwrap()).expect("there is room");
        assert!(addresses.take("2001:db8::2".parse().unwrap()).is_none());
        assert!(addresses.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn memory_goes_with_the_addresses() {
        let addresses = addresses(1);
        let crowd: Vec<_> = (0..100_000).map(|number| addresses.take(v4(number)).expect("there is room")).collect();
        assert_eq!(addresses.gauge.get(), 100_000);
        drop(crowd);
        assert!(addresses.lock().capacity() < 4 * ROOM_MIN, "{}", addresses.lock().capacity());
    }
}
