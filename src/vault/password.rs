//! Passwords: hashed with Argon2id at OWASP's parameters, a bounded number at once.
//!
//! Parameters: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html> (19 MiB, two passes,
//! one lane).

use std::{fmt, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::leaked;
use crate::support::{Error, Result, random};

/// The fewest characters of a password that somebody chooses.
pub const MIN_LENGTH: usize = 10;
/// The most characters of a password.
pub const MAX_LENGTH: usize = 256;

/// Words about a person that are shorter are in too many good passwords.
const KNOWN_WORD: usize = 3;
/// So many letters beside the words about a person make a password of one's own.
const OWN_LETTERS: usize = 4;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How many may wait for each hash at once. More would only wait in vain, and each holds memory.
const WAITING: usize = 16;

/// How long a hash may wait for its turn.
const WAIT: Duration = Duration::from_secs(10);
/// When whoever was sent away may come again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is compared against for an account that does not exist, so that it takes as long as one that does. Nobody's.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3MgYWNjb3VudA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password in clear. It never prints itself.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A password that somebody chooses: 10 to 256 characters, any characters, in no list of leaked passwords.
    ///
    /// # Errors
    /// `Invalid` when it is shorter or longer, or among the first that anybody would try.
    pub fn chosen(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let length = text.chars().count();
        if length < MIN_LENGTH {
            return Err(Error::invalid(format!("The password is shorter than {MIN_LENGTH} characters"))
                .remedy("A few unrelated words make a good one"));
        }
        if length > MAX_LENGTH {
            return Err(Error::invalid(format!("The password is longer than {MAX_LENGTH} characters")));
        }
        let letters = |text: &str| text.chars().any(|c| !c.is_numeric() && !c.is_whitespace());
        if !letters(&text) {
            return Err(
                Error::invalid("The password is made of digits alone").remedy("A few unrelated words make a good one")
            );
        }
        // What is added behind a leaked one to make it look new is what everybody adds.
        let bare = text.trim_end_matches(|c: char| c.is_numeric() || c.is_ascii_punctuation());
        if leaked::is_leaked(&text) || leaked::is_leaked(bare) || repeats(&text) {
            return Err(Error::invalid("The password is in lists of leaked passwords, which is where guessing begins")
                .remedy("A few unrelated words make a good one"));
        }
        Ok(Self(text))
    }

    /// Refuses a password that is made of what everybody knows: the person's name and address, the organisation's name.
    ///
    /// # Errors
    /// `Invalid` when nothing else is left of it but a few characters.
    pub fn is_not_made_of(&self, words: &[&str]) -> Result<()> {
        let plain = |text: &str| -> String { text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect() };
        let mut words: Vec<String> = words
            .iter()
            .flat_map(|text| std::iter::once(*text).chain(text.split(|c: char| !c.is_alphanumeric())))
            .map(plain)
            .filter(|word| word.chars().count() >= KNOWN_WORD)
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let whole = plain(&self.0);
        let rest = words.iter().fold(whole.clone(), |rest, word| rest.replace(word, ""));
        if rest == whole || rest.chars().filter(|c| c.is_alphabetic()).count() >= OWN_LETTERS {
            return Ok(());
        }
        Err(Error::invalid("The password is made of your name, your address or your organisation's name")
            .remedy("A few unrelated words make a good one"))
    }

    /// A password that somebody presents to be let in: anything, but no more of it than decides that it is wrong.
    pub fn presented(text: &str) -> Self {
        Self(text.chars().take(MAX_LENGTH + 1).collect())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(•••)")
    }
}

/// Hashes passwords on threads of their own, no more at once than memory allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// Those that are computed and those that wait.
    places: Arc<Semaphore>,
}

impl Passwords {
    /// At most `at_once` hashes at once, 19 MiB each; at least one.
    pub fn new(at_once: u32) -> Self {
        let at_once = usize::try_from(at_once.max(1)).unwrap_or(1);
        let places = at_once * (1 + WAITING);
        Self { turns: Arc::new(Semaphore::new(at_once)), places: Arc::new(Semaphore::new(places)) }
    }

    /// A salted hash, as a PHC string.
    ///
    /// # Errors
    /// `Unavailable`, with how long to wait, when too many wait or its turn does not come within ten seconds.
    pub async fn hash(&self, password: Password) -> Result<String> {
        self.in_turn(move || {
            let salt = random::bytes::<16>();
            let hash = argon2()?.hash_password_with_salt(password.0.as_bytes(), &salt).map_err(Error::internal)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash the answer is no, after the same time.
    ///
    /// # Errors
    /// As for [`Passwords::hash`]; `Internal` when the hash is no PHC string.
    pub async fn verify(&self, password: Password, hash: Option<String>) -> Result<bool> {
        self.in_turn(move || {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(NOBODY);
            let hash = PasswordHash::new(hash).map_err(Error::internal)?;
            let fits = argon2()?.verify_password(password.0.as_bytes(), &hash).is_ok();
            Ok(known && fits)
        })
        .await
    }

    /// The permit goes along into the thread: a request that is given up does not let another one in before its
    /// memory is free.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let crowded = || {
            Error::unavailable("Too many people are signing in at this moment")
                .remedy("Try again in a few seconds")
                .retry_after(AGAIN)
        };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| crowded())?;
        let permit: OwnedSemaphorePermit = tokio::time::timeout(WAIT, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| crowded())?
            .map_err(Error::internal)?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop((permit, place));
            result
        })
        .await
        .map_err(Error::internal)?
    }
}

/// `aaaaaaaaaa`, `abcabcabcabc`: up to four characters, again and again.
fn repeats(text: &str) -> bool {
    let characters: Vec<char> = text.to_lowercase().chars().collect();
    (1..=4).any(|period| characters.iter().zip(characters.iter().skip(period)).all(|(one, other)| one == other))
}

fn argon2() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Error::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only_and_each_hash_is_salted() {
        let passwords = Passwords::new(2);
        let password = Password::chosen("correct horse").unwrap();
        let (one, two) = (passwords.hash(password.clone()).await.unwrap(), passwords.hash(password).await.unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert!(passwords.verify(Password::presented("correct horse"), Some(one.clone())).await.unwrap());
        assert!(!passwords.verify(Password::presented("correct horsf"), Some(one)).await.unwrap());
        assert!(!passwords.verify(Password::presented("correct horse"), None).await.unwrap());
    }

    #[tokio::test]
    async fn more_than_can_wait_are_sent_away_at_once() {
        let passwords = Passwords::new(1);
        let tries = (0..100).map(|_| passwords.verify(Password::presented("x"), None));
        let done = futures::future::join_all(tries).await;
        let (let_in, sent_away): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
        assert_eq!((let_in.len(), sent_away.len()), (17, 83));
        let error = sent_away.into_iter().next().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.wait()), (crate::support::Kind::Unavailable, Some(AGAIN)));
    }

    #[test]
    fn what_everybody_knows_about_a_person_makes_no_password() {
        let words = ["Ada Lovelace", "ada.king@acme.example", "Acme & Söhne", "acme-soehne"];
        let made_of = |text: &str| Password::presented(text).is_not_made_of(&words).is_err();
        for known in ["adalovelace", "AdaLovelace1815!", "Acme-Söhne-2026", "ada.king@acme.example", "acme soehne ada"]
        {
            assert!(made_of(known), "{known}");
        }
        for own in ["an engine of analysis", "Ada is no countess", "8301 4472 9912", "lovelace and the punched cards"] {
            assert!(!made_of(own), "{own}");
        }
    }

    #[tokio::test]
    async fn nobodys_hash_costs_what_a_real_one_costs() {
        let real = Passwords::new(1).hash(Password::chosen("correct horse").unwrap()).await.unwrap();
        let parameters = |hash: &str| hash.rsplitn(3, '$').nth(2).unwrap().to_owned();
        assert_eq!(parameters(NOBODY), parameters(&real));
        assert_eq!(NOBODY.len(), real.len());
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[test]
    fn a_password_is_neither_short_nor_leaked_nor_repeated_and_it_is_never_printed() {
        assert!(Password::chosen("ninechars").is_err());
        assert!(Password::chosen("zehn Zeiché").is_ok());
        assert!(Password::chosen("a long way ".repeat(23)).is_ok());
        assert!(Password::chosen("a long way ".repeat(24)).is_err());
        for guessed in ["Password123", "qwertyuiop", "Qwertyuiop2026!", "0123456789", "aaaaaaaaaaaa", "abcabcabcabc"] {
            let error = Password::chosen(guessed).unwrap_err();
            assert!(!error.to_string().contains(guessed), "{error}");
        }
        assert_eq!(Password::presented(&"x".repeat(1000)).0.len(), 257);
        assert_eq!(format!("{:?}", Password::presented("secret")), "Password(•••)");
    }
}
