//! `aegis kb …`: the knowledge base.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    client::{Client, encode},
    output::{Output, table},
};

/// `aegis kb`
#[derive(Debug, Subcommand)]
pub enum Kb {
    /// Add files and wait until each is searchable, or has failed with a reason.
    Add {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// The collection that they go into, by its name; the default one unless told.
        #[arg(long)]
        collection: Option<String>,
        /// PDF, DOCX, Markdown or text files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the documents.
    List {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
    /// Remove documents: the original, every passage, every vector.
    Rm {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Documents' ids, as `kb list` shows them.
        #[arg(required = true)]
        documents: Vec<String>,
    },
    /// Search by meaning and by word.
    Search {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// What to look for.
        query: String,
        /// How many passages.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
    },
}

/// What became of one file.
#[derive(Debug, Serialize)]
struct AddedFile {
    file: PathBuf,
    document_id: Option<String>,
    status: String,
    passages: i64,
    error: Option<String>,
}

/// A document as the admin socket describes it.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Document {
    id: String,
    title: String,
    status: String,
    passages: i64,
    pages: Option<i64>,
    bytes: i64,
    error: Option<String>,
    #[serde(default)]
    progress_done: u64,
    #[serde(default)]
    progress_total: u64,
    created_at: String,
}

impl Document {
    fn is_settled(&self) -> bool {
        matches!(self.status.as_str(), "ready" | "failed" | "cancelled" | "superseded")
    }
}

/// A passage that was found.
#[derive(Debug, Serialize, Deserialize)]
struct Hit {
    document: String,
    locator: String,
    score: f32,
    text: String,
}

impl Kb {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add { tenant, collection, files } => add(client, output, &tenant, collection.as_deref(), files).await,
            Self::List { tenant } => {
                let documents: Vec<Document> = client.get(&path(&tenant, "documents")).await?;
                output.result(&documents, |documents| describe_documents(documents))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Rm { tenant, documents } => {
                let mut removed = Vec::new();
                for id in documents {
                    let document: Document =
                        client.delete(&path(&tenant, &format!("documents/{}", encode(&id)))).await?;
                    Output::note(format_args!("removed {}", document.title));
                    removed.push(document);
                }
                output.result(&removed, |_| String::new())?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Search { tenant, query, limit } => {
                let route = path(&tenant, &format!("search?q={}&limit={limit}", encode(&query)));
                let hits: Vec<Hit> = client.get(&route).await?;
                output.result(&hits, |hits| describe_hits(hits))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn path(tenant: &str, rest: &str) -> String {
    format!("/tenants/{}/knowledge/{rest}", encode(tenant))
}

/// Sends every file first, so that they are read side by side, then waits for all of them.
async fn add(
    client: &Client,
    output: &Output,
    tenant: &str,
    collection: Option<&str>,
    files: Vec<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let collection = collection.map(|name| format!("&collection={}", encode(name))).unwrap_or_default();
    let mut added = Vec::new();
    for file in files {
        let name = file.file_name().map_or_else(|| "file".to_owned(), |name| name.to_string_lossy().into_owned());
        let route = path(tenant, &format!("documents?name={}{collection}", encode(&name)));
        let row = match client.upload::<Value>(&route, &file).await {
            Ok(answer) => AddedFile {
                file,
                document_id: answer["document"]["id"].as_str().map(str::to_owned),
                status: "queued".to_owned(),
                passages: 0,
                error: None,
            },
            Err(error) if error.is::<crate::support::Error>() => AddedFile {
                file,
                document_id: None,
                status: "failed".to_owned(),
                passages: 0,
                error: Some(error.to_string()),
            },
            Err(error) => return Err(error),
        };
        added.push(row);
    }
    wait(client, tenant, &mut added).await?;
    output.result(&added, |added| describe_added(added))?;
    let all_ready = added.iter().all(|file| file.status == "ready");
    Ok(if all_ready { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn wait(client: &Client, tenant: &str, added: &mut [AddedFile]) -> anyhow::Result<()> {
    let bar =
        ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg:40!} {wide_bar} {pos}/{len} passages")?);
    for file in added {
        let Some(id) = file.document_id.clone() else { continue };
        bar.set_message(file.file.display().to_string());
        let route = path(tenant, &format!("documents/{}", encode(&id)));
        let document = loop {
            let document: Document = client.get(&route).await?;
            bar.set_length(document.progress_total);
            bar.set_position(document.progress_done);
            if document.is_settled() {
                break document;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        file.status = document.status;
        file.passages = document.passages;
        file.error = document.error;
    }
    bar.finish_and_clear();
    Ok(())
}

fn describe_added(added: &[AddedFile]) -> String {
    let line = |file: &AddedFile| match &file.error {
        Some(error) => format!("✗ {}: {error}", file.file.display()),
        None => format!("✓ {}: {} passages", file.file.display(), file.passages),
    };
    added.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn describe_documents(documents: &[Document]) -> String {
    let rows: Vec<_> = documents
        .iter()
        .map(|document| {
            let state =
                document.error.as_ref().map_or_else(|| document.status.clone(), |error| format!("failed: {error}"));
            vec![document.id.clone(), document.title.clone(), document.passages.to_string(), state]
        })
        .collect();
    table(&["ID", "TITLE", "PASSAGES", "STATE"], &rows)
}

fn describe_hits(hits: &[Hit]) -> String {
    if hits.is_empty() {
        return "Nothing found.".to_owned();
    }
    let describe = |hit: &Hit| format!("{} · {} · {:.3}\n{}", hit.document, hit.locator, hit.score, hit.text.trim());
    hits.iter().map(describe).collect::<Vec<_>>().join("\n\n")
}
