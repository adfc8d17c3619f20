//! Somebody outside the database who remembers what a database cannot prove of itself: how long its logs were.

use std::fmt::Debug;

/// The newest entry of a log, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its place in the log.
    pub seq: i64,
    /// SHA-256 of it.
    pub hash: Vec<u8>,
}

/// What a witness says to a new entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Testimony {
    /// It follows what the witness remembers.
    Follows,
    /// It does not follow directly: look whether this is still in the log, and tell [`Witness::settle`].
    Doubt(Head),
    /// It contradicts what the witness remembers, which it keeps therefore.
    Contradicts,
}

/// Remembers the heads of logs, by their names, and signs on behalf of the appliance. Which one there is, `app` decides.
pub trait Witness: Debug + Send + Sync + 'static {
    /// An entry has been written behind the one whose hash is `previous`. Never waits.
    fn saw(&self, log: &str, head: &Head, previous: &[u8]) -> Testimony;

    /// What was doubted is in the log: then `head` is remembered from now on. Or it is not: then nothing newer is
    /// remembered any more, so that the loss stays evident.
    fn settle(&self, log: &str, head: &Head, is_there: bool);

    /// The newest head that was seen, by this process or an earlier one.
    fn remembers(&self, log: &str) -> Option<Head>;

    /// Where it keeps that, for a person who must correct it.
    fn place(&self, log: &str) -> String;

    /// Writes down what it remembers, which takes as long as a disk does.
    fn flush(&self);

    /// Forgets a log that was deleted as a whole.
    fn forget(&self, log: &str);

    /// The appliance's signature of a text, in hex.
    fn sign(&self, text: &str) -> String;
}
