//! Tenants whose tables an older binary made: brought up to date at the start, several at once, each for itself.
//!
//! Until its turn has come a tenant is refused, and one that fails stays refused, with the reason; the others go on. What
//! is done is recorded tenant by tenant, so that a start that was cut off goes on where it stopped.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{provision, server::Server};
use crate::support::{Error, Result, ids::TenantId};

/// Tenants that are brought up to date at once: as much as a small server does without slowing everybody else down.
const AT_ONCE: usize = 4;
/// How often the log tells how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(3);

/// Which tenants are behind, and how far the work is.
#[derive(Debug, Default)]
pub(super) struct Upkeep(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Why a tenant failed; `None` while it waits.
    behind: BTreeMap<TenantId, Option<String>>,
    of: usize,
    done: usize,
}

impl Upkeep {
    /// Reads which tenants are behind.
    pub(super) async fn read(control: &PgPool) -> Result<Self> {
        let behind: Vec<String> = sqlx::query_scalar(
            "SELECT s.tenant FROM control.tenant_schemas s LEFT JOIN control.tenants t ON t.id = s.tenant
             WHERE s.fingerprint <> $1 AND t.state IS DISTINCT FROM 'removing' ORDER BY s.tenant",
        )
        .bind(provision::fingerprint())
        .fetch_all(control)
        .await?;
        let behind: BTreeMap<_, _> = behind.into_iter().map(|id| Ok((id.parse()?, None))).collect::<Result<_>>()?;
        let of = behind.len();
        Ok(Self(Mutex::new(Book { behind, of, done: 0 })))
    }

    /// Brings up to date what is behind, until `stop`. Gives how many were and how many failed.
    pub(super) async fn run(&self, server: &Server, stop: &CancellationToken) -> (usize, usize) {
        let waiting: Vec<TenantId> = self.book().behind.keys().cloned().collect();
        if waiting.is_empty() {
            return (0, 0);
        }
        let began = Instant::now();
        tracing::info!(tenants = waiting.len(), "bringing tenants up to date");
        let all = stream::iter(waiting).take_until(stop.cancelled()).for_each_concurrent(AT_ONCE, |id| async move {
            let result = provision::provision(server, &id).await;
            self.note(&id, result);
        });
        let report = async {
            loop {
                tokio::time::sleep(REPORT_EVERY).await;
                let (done, of) = self.progress().unwrap_or_default();
                let a_second = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64();
                tracing::info!(done, of, tenants_per_second = format!("{a_second:.1}"), "bringing tenants up to date");
            }
        };
        tokio::select! {
            () = all => {}
            () = report => {}
        }
        let done = self.book().done;
        let failed = self.failed().len();
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(done, failed, duration_ms, "tenants were brought up to date");
        (done, failed)
    }

    /// Refuses a tenant that is behind.
    pub(super) fn admit(&self, id: &TenantId) -> Result<()> {
        match self.book().behind.get(id) {
            None => Ok(()),
            Some(None) => Err(Error::unavailable("the organisation's tables are being brought up to date")
                .remedy("try again in a moment")
                .retry_after(Duration::from_secs(2))),
            Some(Some(_)) => Err(Error::unavailable(
                "the organisation's tables could not be brought up to date, so it is not served; its data is as it was",
            )
            .remedy("whoever runs this server finds the reason with `aegis doctor`")),
        }
    }

    /// How many are done, of how many; `None` when none waits.
    pub(super) fn progress(&self) -> Option<(usize, usize)> {
        let book = self.book();
        book.behind.values().any(Option::is_none).then_some((book.of - book.behind.len(), book.of))
    }

    /// The tenants that failed, and why.
    pub(super) fn failed(&self) -> Vec<(TenantId, String)> {
        self.book().behind.iter().filter_map(|(id, why)| Some((id.clone(), why.clone()?))).collect()
    }

    /// The tenant is up to date, however that came about.
    pub(super) fn settle(&self, id: &TenantId) {
        self.book().behind.remove(id);
    }

    fn note(&self, id: &TenantId, result: Result<()>) {
        let mut book = self.book();
        match result {
            Ok(()) => {
                book.behind.remove(id);
                book.done += 1;
            }
            Err(error) => {
                let why = reasons(&error);
                tracing::error!(tenant = %id, error = %why, "a tenant could not be brought up to date and is not served");
                book.behind.insert(id.clone(), Some(why));
            }
        }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The innermost cause says most: for the operator, not for the tenant.
fn reasons(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
