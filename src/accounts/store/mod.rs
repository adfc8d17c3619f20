//! The rows of the control schema that accounts own, a theme a file.

pub(super) mod browsers;
pub(super) mod identities;
pub(super) mod invitations;
pub(super) mod members;
pub(super) mod names;
pub(super) mod people;
pub(super) mod resets;
pub(super) mod second_factors;
pub(super) mod sessions;
pub(super) mod setup;
pub(super) mod tokens;
pub(super) mod users;

use sqlx::{PgPool, Postgres};

use crate::support::Result;

/// A transaction on the control schema.
pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;

/// Begins one.
pub(super) async fn begin(control: &PgPool) -> Result<Transaction> {
    Ok(control.begin().await?)
}

/// Makes what the transaction did permanent; one that is dropped instead undoes it.
pub(super) async fn commit(transaction: Transaction) -> Result<()> {
    Ok(transaction.commit().await?)
}
