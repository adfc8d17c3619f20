//! One error for all use cases: what happened, of what kind it is, and what to do about it.
//!
//! The [`Kind`] decides the HTTP status and the exit code; the message and the remedy are written for a
//! person; the source is for the log alone and never leaves the machine.

use std::{fmt, time::Duration};

/// What a use case returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong; the message says how.
    Invalid,
    /// Nobody is signed in.
    Unauthenticated,
    /// The person is known and may not.
    Forbidden,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// It contradicts what is already there.
    Conflict,
    /// The input is larger than the limit that the message names.
    TooLarge,
    /// Too often; try later.
    TooMany,
    /// A part that is needed does not answer now.
    Unavailable,
    /// A fault of ours: logged once at the boundary, shown without detail.
    Internal,
}

/// A failure that a person may read.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    remedy: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`; `message` is one sentence for a person.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, retry_after: None, source: None }
    }

    /// The input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// `what` does not exist: "the document", "the conversation".
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("{what} does not exist"))
    }

    /// The person may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    /// It contradicts what is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// Something that is needed does not answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// A fault of ours, with its cause.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal, "something went wrong on the server").because(source)
    }

    /// Adds what to do next: a command, a setting, a page.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds how long to wait before it makes sense to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same failure for each of `count` who wanted the same; the first is told the cause, too.
    pub fn for_each(self, count: usize) -> impl Iterator<Item = Self> {
        let Self { kind, message, remedy, retry_after, .. } = &self;
        let again = |_| Self {
            kind: *kind,
            message: message.clone(),
            remedy: remedy.clone(),
            retry_after: *retry_after,
            source: None,
        };
        let others: Vec<_> = (1..count).map(again).collect();
        std::iter::once(self).chain(others)
    }

    /// Which kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened, in a sentence for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next, if there is something.
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// How long to wait before trying again, if that is known.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, " ({remedy})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
