//! Attempts to sign in are limited by account *and* address together, and by address: whoever guesses slows down
//! himself and cannot lock anybody else out. Wrong API tokens are limited by address.
//!
//! Each limit is a token bucket, kept as the moment at which it will be full again (the generic cell rate algorithm,
//! ITU-T I.371). In memory: a restart forgives.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::EmailAddress;
use crate::support::{Error, Kind, Result};

/// Attempts on one account from one address: five at once, then one every 30 s.
const BY_ACCOUNT: Limit = Limit { at_once: 5, every: TimeDelta::seconds(30) };
/// Attempts from one address on any account: thirty at once, then one every 6 s.
const BY_ADDRESS: Limit = Limit { at_once: 30, every: TimeDelta::seconds(6) };

/// Wrong API tokens from one address: thirty at once, then one every 6 s.
const BY_TOKEN: Limit = Limit { at_once: 30, every: TimeDelta::seconds(6) };

/// Beyond so many buckets those that are full are thrown away.
const BUCKETS: usize = 10_000;

/// Who tries what from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Account(String, Option<IpAddr>),
    Address(Option<IpAddr>),
    Token(Option<IpAddr>),
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    at_once: i32,
    every: TimeDelta,
}

/// The limits of all who try to sign in.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    full_at: Mutex<HashMap<Key, DateTime<Utc>>>,
}

impl Throttle {
    /// Takes one attempt on `email` from `address`.
    ///
    /// # Errors
    /// `TooMany`, with how long to wait, when there is none left.
    pub(super) fn take(&self, email: &EmailAddress, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<()> {
        self.take_each(keys(email, address).into(), "Too many attempts to sign in", now)
    }

    /// Takes one wrong API token from `address`.
    ///
    /// # Errors
    /// As for [`Throttle::take`].
    pub(super) fn take_token(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<()> {
        let key = Key::Token(address.map(network));
        self.take_each(vec![(key, BY_TOKEN)], "Too many wrong API tokens", now)
    }

    /// One of each, or none of any.
    fn take_each(&self, keys: Vec<(Key, Limit)>, refusal: &str, now: DateTime<Utc>) -> Result<()> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = keys.iter().map(|(key, limit)| limit.wait(full_at.get(key).copied(), now)).max();
        if let Some(wait) = wait.filter(|wait| *wait > TimeDelta::zero()) {
            return Err(refused(refusal, wait));
        }
        for (key, limit) in keys {
            let full = full_at.get(&key).copied().unwrap_or(now).max(now);
            full_at.insert(key, full + limit.every);
        }
        if full_at.len() > BUCKETS {
            full_at.retain(|_, full| *full > now);
        }
        Ok(())
    }

    /// Gives the attempt back: it was the right password.
    pub(super) fn give_back(&self, email: &EmailAddress, address: Option<IpAddr>) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, limit) in keys(email, address) {
            if let Some(full) = full_at.get_mut(&key) {
                *full -= limit.every;
            }
        }
    }
}

impl Limit {
    /// How long until there is an attempt, zero or less when there is one now.
    fn wait(self, full_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> TimeDelta {
        full_at.map_or(TimeDelta::zero(), |full| full - now - self.every * (self.at_once - 1))
    }
}

fn keys(email: &EmailAddress, address: Option<IpAddr>) -> [(Key, Limit); 2] {
    let address = address.map(network);
    let account = Key::Account(email.as_str().to_lowercase(), address);
    [(account, BY_ACCOUNT), (Key::Address(address), BY_ADDRESS)]
}

/// One customer of an IPv6 provider has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn refused(refusal: &str, wait: TimeDelta) -> Error {
    let wait = wait.to_std().unwrap_or_default();
    let seconds = wait.as_secs() + 1;
    Error::new(Kind::TooMany, refusal).remedy(format!("Try again in {seconds} seconds")).retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn guessing_slows_down_the_guesser_and_nobody_else() {
        let (throttle, ada) = (Throttle::default(), "ada@example.org".parse().unwrap());
        let guesser = Some(address("203.0.113.9"));
        for _ in 0..5 {
            throttle.take(&ada, guesser, at(0)).unwrap();
        }
        let refused = throttle.take(&"ADA@example.org".parse().unwrap(), guesser, at(10)).unwrap_err();
        assert_eq!((refused.kind(), refused.wait().unwrap().as_secs()), (Kind::TooMany, 20));
        assert!(throttle.take(&ada, Some(address("198.51.100.4")), at(10)).is_ok());
        assert!(throttle.take(&ada, guesser, at(30)).is_ok());
        assert!(throttle.take(&ada, guesser, at(31)).is_err());
    }

    #[test]
    fn one_address_cannot_try_many_accounts() {
        let throttle = Throttle::default();
        let tried = (0..100).filter(|n| {
            let email = format!("user{n}@example.org").parse().unwrap();
            throttle.take(&email, Some(address(&format!("2001:db8::{n:x}"))), at(0)).is_ok()
        });
        assert_eq!(tried.count(), 30);
    }

    #[test]
    fn the_right_password_costs_no_attempt() {
        let (throttle, ada) = (Throttle::default(), "ada@example.org".parse().unwrap());
        for _ in 0..100 {
            throttle.take(&ada, None, at(0)).unwrap();
            throttle.give_back(&ada, None);
        }
    }

    #[test]
    fn full_buckets_are_thrown_away() {
        let throttle = Throttle::default();
        for n in 0..BUCKETS {
            let email = format!("user{n}@example.org").parse().unwrap();
            let _ = throttle.take(&email, Some(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes())), at(0));
        }
        throttle.take(&"ada@example.org".parse().unwrap(), None, at(1000)).unwrap();
        assert_eq!(throttle.full_at.lock().unwrap().len(), 2);
    }
}
