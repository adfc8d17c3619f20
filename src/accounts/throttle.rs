//! Guesses are slowed down, and nobody can be kept out by guessing at their password.
//!
//! | who | what is counted | limit |
//! |---|---|---|
//! | a browser in which the person has signed in before | guesses of this browser at this account | ten, then one every 30 s |
//! | any other | guesses from this address at this account | five, then one every 30 s |
//! | | guesses from this address at any account | thirty, then one every 6 s |
//! | | wrong API tokens from this address | thirty, then one every 6 s |
//! | | departures to other people's sign-in pages from this address | thirty, then one every 6 s |
//! | whoever knows the password | wrong codes of the second factor from this address | five, then one every 30 s |
//! | | wrong codes from anywhere | thirty, then one every 10 min: a year's guessing finds one with 1 in 7 |
//! | | guesses at this account from anywhere | fifty, then one every minute; beyond, each address has one every 5 min |
//!
//! The last is what slows down many addresses that guess together. It refuses nobody by itself: an address from which
//! nobody has guessed always has one attempt, and the person's own browsers do not notice.
//!
//! Each limit is a token bucket, kept as the moment at which it will be full again (the generic cell rate algorithm,
//! ITU-T I.371). They are in memory: a guesser cannot make the server forget them by anything that he can do, all are
//! full again within the hour anyway, and a guess that had to be written to the database would be a lever for whoever
//! makes many. Several nodes on one database count each for itself.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::EmailAddress;
use crate::{
    support::{Error, Kind, Result, ids::UserId},
    vault::TokenHash,
};

const BY_BROWSER: Limit = Limit { at_once: 10, every: TimeDelta::seconds(30) };
const BY_PAIR: Limit = Limit { at_once: 5, every: TimeDelta::seconds(30) };
const BY_ADDRESS: Limit = Limit { at_once: 30, every: TimeDelta::seconds(6) };
const BY_TOKEN: Limit = Limit { at_once: 30, every: TimeDelta::seconds(6) };
const BY_CODE_PAIR: Limit = Limit { at_once: 5, every: TimeDelta::seconds(30) };
const BY_CODE: Limit = Limit { at_once: 30, every: TimeDelta::minutes(10) };
const BY_ACCOUNT: Limit = Limit { at_once: 50, every: TimeDelta::minutes(1) };
/// In the place of [`BY_PAIR`] while [`BY_ACCOUNT`] is exceeded.
const BY_PAIR_UNDER_ATTACK: Limit = Limit { at_once: 1, every: TimeDelta::minutes(5) };

const SIGN_IN: &str = "Too many attempts to sign in";

/// Beyond so many buckets those that are full are thrown away; and then, while there are too many, those that are
/// nearest to it.
const BUCKETS: usize = 50_000;

/// Who tries what from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Browser(String, TokenHash),
    Pair(String, Option<IpAddr>),
    UnderAttack(String, Option<IpAddr>),
    Address(Option<IpAddr>),
    Account(String),
    Token(Option<IpAddr>),
    Journey(Option<IpAddr>),
    CodePair(UserId, Option<IpAddr>),
    Code(UserId),
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    at_once: i32,
    every: TimeDelta,
}

/// An attempt to sign in.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    account: String,
    address: Option<IpAddr>,
    browser: Option<TokenHash>,
}

/// What an attempt has cost, to be given back when it was none.
#[derive(Debug)]
#[must_use]
pub(super) struct Taken(Vec<(Key, TimeDelta)>);

/// The limits of all who try to sign in.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: Mutex<HashMap<Key, DateTime<Utc>>>,
}

impl Attempt {
    /// At `email` from `address`; `browser`, if the person has signed in with it before.
    pub(super) fn new(email: &EmailAddress, address: Option<IpAddr>, browser: Option<TokenHash>) -> Self {
        Self { account: email.as_str().to_lowercase(), address: address.map(network), browser }
    }
}

impl Throttle {
    /// Takes one attempt.
    ///
    /// # Errors
    /// `TooMany`, with how long to wait, when there is none left.
    pub(super) fn take(&self, attempt: &Attempt, now: DateTime<Utc>) -> Result<Taken> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let account = attempt.account.clone();
        if let Some(browser) = attempt.browser {
            return take(&mut buckets, vec![(Key::Browser(account, browser), BY_BROWSER)], SIGN_IN, now);
        }
        let whole = Key::Account(account.clone());
        let attacked = BY_ACCOUNT.wait(buckets.get(&whole).copied(), now) > TimeDelta::zero();
        let mut limits =
            vec![(Key::Pair(account.clone(), attempt.address), BY_PAIR), (Key::Address(attempt.address), BY_ADDRESS)];
        if attacked {
            limits.push((Key::UnderAttack(account, attempt.address), BY_PAIR_UNDER_ATTACK));
        }
        let mut taken = take(&mut buckets, limits, SIGN_IN, now)?;
        if !attacked {
            let more = take(&mut buckets, vec![(whole, BY_ACCOUNT)], SIGN_IN, now)?;
            taken.0.extend(more.0);
        }
        Ok(taken)
    }

    /// Takes one wrong API token from `address`.
    ///
    /// # Errors
    /// As for [`Throttle::take`].
    pub(super) fn take_token(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<()> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = (Key::Token(address.map(network)), BY_TOKEN);
        take(&mut buckets, vec![limit], "Too many wrong API tokens", now).map(drop)
    }

    /// Takes one departure from `address` to another sign-in page.
    ///
    /// # Errors
    /// As for [`Throttle::take`].
    pub(super) fn take_journey(&self, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<()> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = (Key::Journey(address.map(network)), BY_TOKEN);
        take(&mut buckets, vec![limit], SIGN_IN, now).map(drop)
    }

    /// Takes one code of the second factor of `user`, from `address`.
    ///
    /// # Errors
    /// As for [`Throttle::take`].
    pub(super) fn take_code(&self, user: UserId, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<Taken> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = vec![(Key::CodePair(user, address.map(network)), BY_CODE_PAIR), (Key::Code(user), BY_CODE)];
        take(&mut buckets, limits, "Too many wrong codes", now)
    }

    /// Gives an attempt back: it was the right password, or none was tried.
    pub(super) fn give_back(&self, taken: Taken) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, cost) in taken.0 {
            if let Some(full) = buckets.get_mut(&key) {
                *full -= cost;
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

/// One of each, or none of any.
fn take(
    buckets: &mut HashMap<Key, DateTime<Utc>>,
    limits: Vec<(Key, Limit)>,
    refusal: &str,
    now: DateTime<Utc>,
) -> Result<Taken> {
    let wait = limits.iter().map(|(key, limit)| limit.wait(buckets.get(key).copied(), now)).max();
    if let Some(wait) = wait.filter(|wait| *wait > TimeDelta::zero()) {
        return Err(refused(refusal, wait));
    }
    make_room(buckets, now);
    let taken = limits.into_iter().map(|(key, limit)| {
        let full = buckets.get(&key).copied().unwrap_or(now).max(now);
        buckets.insert(key.clone(), full + limit.every);
        (key, limit.every)
    });
    Ok(Taken(taken.collect()))
}

/// Bounds the memory that whoever guesses can take, at a cost that is small on average: half of the buckets go at once.
fn make_room(buckets: &mut HashMap<Key, DateTime<Utc>>, now: DateTime<Utc>) {
    if buckets.len() < BUCKETS {
        return;
    }
    buckets.retain(|_, full| *full > now);
    if buckets.len() > BUCKETS / 2 {
        let mut moments: Vec<_> = buckets.values().copied().collect();
        let middle = moments.len() / 2;
        let (_, median, _) = moments.select_nth_unstable(middle);
        let median = *median;
        buckets.retain(|_, full| *full > median);
    }
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

    fn attempt(email: &str, address: &str) -> Attempt {
        Attempt::new(&email.parse().unwrap(), Some(address.parse().unwrap()), None)
    }

    fn from(number: u32) -> Attempt {
        Attempt::new(&"ada@example.org".parse().unwrap(), Some(IpAddr::from(number.to_be_bytes())), None)
    }

    #[test]
    fn guessing_slows_down_the_guesser_and_nobody_else() {
        let throttle = Throttle::default();
        let guesser = attempt("ada@example.org", "203.0.113.9");
        for _ in 0..5 {
            let _ = throttle.take(&guesser, at(0)).unwrap();
        }
        let refused = throttle.take(&attempt("ADA@example.org", "203.0.113.9"), at(10)).unwrap_err();
        assert_eq!((refused.kind(), refused.wait().unwrap().as_secs()), (Kind::TooMany, 20));
        assert!(throttle.take(&attempt("ada@example.org", "198.51.100.4"), at(10)).is_ok());
        assert!(throttle.take(&guesser, at(30)).is_ok());
        assert!(throttle.take(&guesser, at(31)).is_err());
    }

    #[test]
    fn one_address_cannot_try_many_accounts() {
        let throttle = Throttle::default();
        let tried = (0..100).filter(|n| {
            let attempt = attempt(&format!("user{n}@example.org"), &format!("2001:db8::{n:x}"));
            throttle.take(&attempt, at(0)).is_ok()
        });
        assert_eq!(tried.count(), 30);
    }

    #[test]
    fn many_addresses_together_have_one_guess_each_and_keep_out_neither_a_new_address_nor_a_known_browser() {
        let throttle = Throttle::default();
        let guesses: usize =
            (0..1_000).map(|n| (0..5).filter(|_| throttle.take(&from(n), at(0)).is_ok()).count()).sum();
        assert_eq!(guesses, 50 + 990, "ten addresses had five guesses; after that each had one");
        assert!(throttle.take(&from(500), at(59)).is_err(), "no second one while it goes on");

        let new_place = attempt("ada@example.org", "198.51.100.4");
        assert!(throttle.take(&new_place, at(59)).is_ok(), "an address from which nobody has guessed");
        // Behind the same address as the guessers, but in her own browser.
        let hers = Attempt { browser: Some(TokenHash::of("hers")), ..from(7) };
        for _ in 0..10 {
            let _ = throttle.take(&hers, at(59)).unwrap();
        }
        assert!(throttle.take(&hers, at(59)).is_err(), "a known browser guesses no more than ten times either");
        assert!(throttle.take(&attempt("bob@example.org", "192.0.2.5"), at(59)).is_ok());
    }

    #[test]
    fn the_right_password_costs_no_attempt() {
        let throttle = Throttle::default();
        for _ in 0..100 {
            let taken = throttle.take(&from(1), at(0)).unwrap();
            throttle.give_back(taken);
        }
    }

    #[test]
    fn however_many_guess_memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..100_000 {
            let email = format!("user{}@example.org", n % 100);
            let address = IpAddr::from(u32::to_be_bytes(n));
            let _ = throttle.take(&Attempt::new(&email.parse().unwrap(), Some(address), None), at(0));
            assert!(throttle.buckets.lock().unwrap().len() <= BUCKETS + 4);
        }
        // Once they are full they go.
        for second in 0..2 {
            let _ = throttle.take(&from(1), at(10_000 + second));
        }
        make_room(&mut throttle.buckets.lock().unwrap(), at(10_000));
    }
}
