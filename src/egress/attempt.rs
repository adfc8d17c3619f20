//! One attempt to send a request: what is written down of it, and in whose name it was made. Never a path, a query, a
//! header or a body: they may hold what belongs to the tenant, or a key.

use std::{sync::Arc, time::Instant};

use serde::Serialize;

use super::Url;
use crate::support::ids::{RunId, TenantId};

/// In whose name a request is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The tenant.
    pub tenant: TenantId,
    /// The run, where there is one.
    pub run: Option<RunId>,
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Does `work`; requests that it sends are made in the name of `tenant`, and of `run` if there is one. Within a run of
/// the same tenant it stays that run. What `work` spawns is no longer in anybody's name, unless it says so itself.
pub fn on_behalf_of<F: Future>(
    tenant: &TenantId,
    run: Option<RunId>,
    work: F,
) -> impl Future<Output = F::Output> + use<F> {
    // A whole run is a large future: it is moved here once, and not again.
    let (tenant, work) = (tenant.clone(), Box::pin(work));
    async move {
        let around = CALLER.try_with(|caller| (caller.tenant == tenant).then_some(caller.run)).ok().flatten().flatten();
        CALLER.scope(Caller { tenant, run: run.or(around) }, work).await
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer came, or began to.
    Done,
    /// Nothing was sent, because it was not allowed.
    Refused,
    /// It was sent, or tried, and no answer came.
    Failed,
    /// Whoever wanted the answer went away before it began.
    Stopped,
}

impl Outcome {
    /// In lower case, as in the logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// One attempt to send a request.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// In whose name; none for what the appliance does for itself, such as `aegis doctor`.
    #[serde(skip)]
    pub caller: Option<Caller>,
    /// What for: "chat", "embedding".
    pub purpose: &'static str,
    /// `http` or `https`.
    pub scheme: String,
    /// The host, without credentials.
    pub host: String,
    /// The port.
    pub port: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it was refused or failed.
    pub reason: Option<String>,
    /// How much of the answer's body was read, where whoever read it said so.
    pub bytes: Option<u64>,
    /// How long it took.
    pub duration_ms: u64,
    #[serde(skip)]
    began: Instant,
}

/// Who keeps attempts: the appliance writes them into the tenant's audit log. A log line is written in any case.
pub trait Journal: Send + Sync {
    /// Takes an attempt that is over. Must not wait.
    fn note(&self, attempt: &Attempt);
}

impl Attempt {
    /// A request that is about to be made, in the name of whoever [`super::on_behalf_of`] says.
    pub(super) fn begin(purpose: &'static str, url: &Url) -> Self {
        Self {
            caller: CALLER.try_with(Clone::clone).ok(),
            purpose,
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default(),
            outcome: Outcome::Stopped,
            status: None,
            reason: None,
            bytes: None,
            duration_ms: 0,
            began: Instant::now(),
        }
    }

    /// `api.example.org:443`
    pub fn place(&self) -> String {
        self.port.map_or_else(|| self.host.clone(), |port| format!("{}:{port}", self.host))
    }

    /// Writes it down.
    pub(super) fn end(&mut self, journal: Option<&Arc<dyn Journal>>) {
        self.duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Self { purpose, host, port, status, bytes, duration_ms, .. } = self;
        let (port, outcome, reason) = (port.unwrap_or_default(), self.outcome.name(), self.reason.as_deref());
        let tenant = self.caller.as_ref().map(|caller| tracing::field::display(&caller.tenant));
        let run = self.caller.as_ref().and_then(|caller| caller.run).map(tracing::field::display);
        if self.outcome == Outcome::Refused {
            tracing::warn!(tenant, run, purpose, host, port, outcome, reason, duration_ms, "outbound request");
        } else {
            tracing::info!(
                tenant,
                run,
                purpose,
                host,
                port,
                outcome,
                reason,
                status,
                bytes,
                duration_ms,
                "outbound request"
            );
        }
        if let Some(journal) = journal {
            journal.note(self);
        }
    }
}
