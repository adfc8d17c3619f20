//! How many connections there may be, so that nobody holds them all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All connections together: below the 1,024 files that a process may have open on many systems, with room for the
/// database's connections and for files.
const ALL: usize = 768;
/// Those of one address. Browsers open six at a time; behind one address may be a whole office.
const OF_ONE_ADDRESS: usize = 128;

/// The places for connections.
#[derive(Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place, given back when it is dropped.
pub(super) struct Place {
    address: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// All free.
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(ALL)), taken: Arc::default() }
    }

    /// Waits until there is a place at all; until then nobody is accepted, and the system lets clients wait.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// The place of a connection from `address`; `None` when that address has its share. This machine's own address
    /// has no share: all come from it when a proxy stands in front.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.entry(address).or_default();
        if *of_address >= OF_ONE_ADDRESS && !address.is_loopback() {
            return None;
        }
        *of_address += 1;
        Some(Place { address, taken: Arc::clone(&self.taken), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = taken.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_gets_its_share_and_what_it_gives_back_is_free_again() {
        let places = Places::new();
        let (stranger, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..OF_ONE_ADDRESS {
            held.push(places.take(places.free().await.unwrap(), stranger).unwrap());
        }
        assert!(places.take(places.free().await.unwrap(), stranger).is_none(), "it has its share");
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(places.take(places.free().await.unwrap(), mapped).is_none(), "in whatever form it is written");
        assert!(places.take(places.free().await.unwrap(), other).is_some());
        held.pop();
        assert!(places.take(places.free().await.unwrap(), stranger).is_some());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
        assert_eq!(places.free.available_permits(), ALL);
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_next_client_waits() {
        let places = Places::new();
        let proxy = "127.0.0.1".parse().unwrap();
        let mut held = Vec::new();
        for _ in 0..ALL {
            held.push(places.take(places.free().await.unwrap(), proxy).unwrap());
        }
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.free().await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        held.pop();
        assert!(waiting.await.unwrap());
    }
}
