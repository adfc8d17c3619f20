//! What is examined when somebody asks whether all is well.

use std::{fmt, os::unix::fs::PermissionsExt, path::Path};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::wiring::App;
use crate::{tenants, vault::keyring::Protection};

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// The appliance works without it, less well.
    Warning,
    /// Something that is needed does not work.
    Broken,
}

/// One part and how it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// Which part.
    pub part: String,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do, if something is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// It works.
    pub fn ok(part: &str, detail: impl Into<String>) -> Self {
        Self { part: part.to_owned(), state: State::Ok, detail: detail.into(), remedy: None }
    }

    /// It is missed, but not needed.
    pub fn warning(part: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { part: part.to_owned(), state: State::Warning, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// It is needed and does not work.
    pub fn broken(part: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { part: part.to_owned(), state: State::Broken, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            State::Ok => "✓",
            State::Warning => "!",
            State::Broken => "✗",
        };
        write!(f, "{mark} {}: {}", self.part, self.detail)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n    → {remedy}")?;
        }
        Ok(())
    }
}

/// Examines a running appliance.
pub async fn examine(app: &App) -> Vec<Finding> {
    let mut findings = vec![database(app).await, disk(&app.config.data_dir), permissions(&app.config.data_dir)];
    findings.extend(tenants_of(app).await);
    findings.push(keys(app).await);
    findings.push(egress(app));
    findings.push(embedding(app).await);
    findings.extend(chat_models(app).await);
    findings
}

async fn database(app: &App) -> Finding {
    match app.databases.ping().await {
        Ok(()) => Finding::ok(
            "database",
            format!("it answers; tenants' pools that are open: {}", app.databases.open_tenants()),
        ),
        Err(error) => Finding::broken("database", error.to_string(), "read what the appliance logs about PostgreSQL"),
    }
}

/// A removal takes seconds, a minute at most until it is looked for again.
const REMOVAL_PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Those that are not as they should be, each by name.
async fn tenants_of(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((done, of)) = app.databases.upkeep() {
        let detail = format!("their tables are being brought up to date: {done} of {of}");
        findings.push(Finding::warning("tenants", detail, "wait; those that are done are served already"));
    }
    for (id, why) in app.databases.refused() {
        let named =
            app.tenants.record(&id).await.map_or_else(|_| id.to_string(), |record| record.tenant.slug.to_string());
        findings.push(Finding::broken(
            &format!("tenant {named}"),
            format!("its tables could not be brought up to date, so it is not served; its data is as it was: {why}"),
            "remove what stands in the way, then restart the appliance",
        ));
    }
    match app.tenants.away().await {
        Ok(away) => {
            for record in away {
                let named = format!("tenant {}", record.tenant.slug);
                let overdue = record.delete_after.is_some_and(|after| app.clock.now() - after > REMOVAL_PATIENCE);
                if matches!(record.state, tenants::State::Deleting | tenants::State::Removing) && overdue {
                    let remedy = "read why in the appliance's log; it is tried again every minute";
                    findings.push(Finding::broken(&named, "its removal does not get on", remedy));
                } else if record.state == tenants::State::Creating {
                    let remedy = "restart the appliance, which tries again and logs why it fails";
                    findings.push(Finding::warning(&named, "its creation was interrupted", remedy));
                }
            }
        }
        Err(error) => findings.push(Finding::broken("tenants", error.to_string(), "see the database")),
    }
    if findings.is_empty() {
        findings.push(Finding::ok("tenants", "all are up to date"));
    }
    findings
}
/// Addresses that one line can hold.
const SHOWN_ADDRESSES: usize = 4;

/// Room for a day's work: below this, uploads and the database's own logs are in danger.
const SCARCE_BYTES: u64 = 2 << 30;

fn disk(data_dir: &Path) -> Finding {
    let free = match nix::sys::statvfs::statvfs(data_dir) {
        Ok(found) => found.blocks_available() * found.fragment_size(),
        Err(error) => {
            return Finding::broken(
                "disk",
                format!("{}: {error}", data_dir.display()),
                "check that the disk is mounted",
            );
        }
    };
    let detail = format!("{} MiB free under {}", free >> 20, data_dir.display());
    if free < SCARCE_BYTES {
        Finding::warning("disk", detail, "make room, or move data_dir to a larger disk")
    } else {
        Finding::ok("disk", detail)
    }
}

/// Nobody but the appliance's user may look into the data directory's keys, or speak to the admin socket.
fn permissions(data_dir: &Path) -> Finding {
    let too_open = ["admin.sock", "keys", "keys/appliance.key"]
        .into_iter()
        .find(|name| std::fs::metadata(data_dir.join(name)).is_ok_and(|found| found.permissions().mode() & 0o077 != 0));
    match too_open {
        None => Finding::ok("permissions", "keys and the admin socket are the owner's alone"),
        Some(name) => {
            let path = data_dir.join(name);
            let remedy = format!("chmod go= {}", path.display());
            Finding::broken("permissions", format!("others may use {}", path.display()), remedy)
        }
    }
}

/// What secrets are sealed with.
async fn keys(app: &App) -> Finding {
    let keys = app.secrets.keys().await;
    let protection = match keys.protection {
        Protection::File => "the key file is readable to its owner without a passphrase",
        Protection::Passphrase => "the key file is protected by a passphrase",
    };
    match (keys.previous.is_empty(), keys.protection, &app.config.vault.passphrase) {
        (false, ..) => Finding::warning(
            "keys",
            format!("{protection}; a rotation is not finished"),
            "aegis key rotate --appliance",
        ),
        (true, Protection::File, Some(_)) => {
            Finding::warning("keys", format!("{protection}, although one is configured"), "aegis key protect")
        }
        (true, ..) => Finding::ok("keys", protection),
    }
}

/// What may be reached is the operator's decision, so there is nothing to find fault with, but it shall be seen.
fn egress(app: &App) -> Finding {
    let allowed = app.egress.allowed();
    let shown: Vec<String> = allowed.iter().take(SHOWN_ADDRESSES).map(ToString::to_string).collect();
    let detail = match allowed.len() {
        0 => "nothing outside may be reached".to_owned(),
        count if count > SHOWN_ADDRESSES => {
            format!("{count} addresses may be reached: {} … (`aegis egress` shows all)", shown.join(", "))
        }
        _ => format!("nothing may be reached but {}", shown.join(", ")),
    };
    Finding::ok("egress", detail)
}

async fn embedding(app: &App) -> Finding {
    let name = app.embedding.name();
    match app.embedding.embed_query("Is anybody there?").await {
        Ok(vector) => Finding::ok("embedding", format!("{name} answers with {} dimensions", vector.len())),
        Err(error) => Finding::broken(
            "embedding",
            format!("{name}: {error}"),
            "make the model available, or set embedding.model = \"builtin\"",
        ),
    }
}

/// Each target of the chain. One that works is enough; none is no failure, because agents then quote.
async fn chat_models(app: &App) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut usable = false;
    for target in app.router.status().await {
        usable |= target.ok;
        let part = format!("chat model {}", target.model);
        findings.push(match target.problem {
            None => Finding::ok(&part, "it can be asked"),
            Some(problem) => Finding::warning(&part, problem, target.remedy.unwrap_or_default()),
        });
    }
    if !usable {
        findings.push(Finding::warning(
            "chat models",
            "none can answer, so agents quote the knowledge base",
            "start Ollama (`ollama serve`), or put a GGUF chat model into `models/` of the data directory",
        ));
    }
    findings
}
