//! What a failure of the database means to a use case.

use std::error::Error as _;

use crate::support::{Error, Kind};

/// Whether `error` is a violation of the constraint of this name (a unique index counts as one).
///
/// A store asks this to turn a duplicate into a sentence, by the constraint's name and not by a SELECT before.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint) == Some(constraint)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_barred(&error) {
            Self::new(Kind::Forbidden, "the organisation is not in service")
                .remedy("it is suspended or being deleted: ask whoever runs this server")
                .because(error)
        } else if is_connection_lost(&error) {
            Self::new(Kind::Unavailable, "the database does not answer at the moment")
                .remedy("try again in a few seconds")
                .because(error)
        } else {
            Self::internal(error)
        }
    }
}

/// 28000: the role may not sign in, or is no more. Only tenants' roles are ever taken out of service.
fn is_barred(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("28000")
}

fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08: connection, 53: out of resources, 57P: the server is stopping, crashed or starting.
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| ["08", "53", "57P"].iter().any(|class| code.starts_with(class)))
        }
        // The driver reports a socket closed in the middle of a message as a protocol error around an I/O error.
        other => other.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_unavailable_and_a_wrong_query_is_our_fault() {
        assert_eq!(Error::from(sqlx::Error::PoolTimedOut).kind(), Kind::Unavailable);
        assert_eq!(Error::from(sqlx::Error::RowNotFound).kind(), Kind::Internal);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Error::from(sqlx::Error::Io(reset)).kind(), Kind::Unavailable);
    }
}
