//! A client for one request, and the line that will be written about it, whichever way the request ends.

use std::{ops::Deref, sync::Arc};

use super::{
    Client, Failure, Url,
    attempt::{Attempt, Journal, Outcome},
    origin,
};

/// A client that was handed out for one request. The attempt is written down when this is dropped, so keep it until the
/// answer has been read, and tell it what came.
#[must_use = "the attempt ends when this is dropped"]
pub struct Outbound {
    attempt: Attempt,
    journal: Option<Arc<dyn Journal>>,
    client: Client,
}

impl Outbound {
    /// One request's way out; the attempt is told to the journal when it is over.
    pub(super) fn new(attempt: Attempt, journal: Option<Arc<dyn Journal>>, client: Client) -> Self {
        Self { attempt, journal, client }
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// An answer has begun; its status, where the holder knows it.
    pub fn answered(&mut self, status: Option<u16>) {
        self.attempt.outcome = Outcome::Done;
        self.attempt.status = status;
    }

    /// So much more of its body has been read.
    pub fn received(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.attempt.bytes = Some(self.attempt.bytes.unwrap_or_default().saturating_add(bytes));
    }

    /// The answer was that the request belongs elsewhere, where it will be sent by an attempt of its own.
    pub(super) fn redirected(&mut self, to: &Url) {
        self.attempt.outcome = Outcome::Done;
        self.attempt.reason = Some(format!("redirected to {}", origin(to)));
    }

    /// It came to nothing, or broke off.
    pub fn failed(&mut self, failure: &Failure) {
        self.attempt.outcome = match failure {
            Failure::Refused(_) => Outcome::Refused,
            _ => Outcome::Failed,
        };
        self.attempt.reason = Some(failure.to_string());
    }
}

impl Deref for Outbound {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.attempt.end(self.journal.as_ref());
    }
}
