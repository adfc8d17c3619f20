//! `aegis kb …`: the knowledge base.

mod reembed;

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

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
        /// Do not wait: end once the files are stored.
        #[arg(long)]
        no_wait: bool,
        /// PDF, DOCX, XLSX, PPTX, HTML, CSV, Markdown or text files, and folders of them, whose names are kept.
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
    /// Stop documents that are on their way to be searched. The originals are kept.
    Cancel {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Documents' ids, as `kb list` shows them.
        #[arg(required = true)]
        documents: Vec<String>,
    },
    /// Try documents again that failed or were stopped.
    Retry {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Documents' ids, as `kb list` shows them.
        #[arg(required_unless_present = "failed")]
        documents: Vec<String>,
        /// All that failed.
        #[arg(long, conflicts_with = "documents")]
        failed: bool,
    },
    /// Make the vectors of another embedding model, in the background.
    Reembed(reembed::Reembed),
    /// Search by meaning and by word.
    Search {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// What to look for.
        query: String,
        /// How many passages.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
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
    /// The collection's name.
    collection: String,
    /// The folders above it where it came from.
    folder: String,
    version: i64,
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
            Self::Add { tenant, collection, no_wait, files } => {
                add(client, output, &tenant, collection.as_deref(), no_wait, files).await
            }
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
            Self::Cancel { tenant, documents } => each(client, output, &tenant, "cancel", "stopped", documents).await,
            Self::Retry { tenant, failed: true, .. } => {
                let queued: Value = client.post(&path(&tenant, "retry"), &()).await?;
                output.result(&queued, |queued| format!("{} documents are tried again", queued["queued"]))?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Retry { tenant, documents, .. } => {
                each(client, output, &tenant, "retry", "tried again", documents).await
            }
            Self::Reembed(command) => command.run(client, output).await,
            Self::Search { tenant, query, limit } => {
                let route = path(&tenant, &format!("search?q={}&limit={limit}", encode(&query)));
                let hits: Vec<Hit> = client.get(&route).await?;
                output.result(&hits, |hits| describe_hits(hits))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Does the same with each of the documents.
async fn each(
    client: &Client,
    output: &Output,
    tenant: &str,
    what: &str,
    told: &str,
    ids: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut done: Vec<Document> = Vec::new();
    for id in ids {
        let document: Document = client.post(&path(tenant, &format!("documents/{}/{what}", encode(&id))), &()).await?;
        Output::note(format_args!("{told}: {}", document.title));
        done.push(document);
    }
    output.result(&done, |_| String::new())?;
    Ok(ExitCode::SUCCESS)
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
    no_wait: bool,
    files: Vec<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let collection = collection.map(|name| format!("&collection={}", encode(name))).unwrap_or_default();
    let mut added = Vec::new();
    for (file, name) in files.into_iter().map(found_below).collect::<io::Result<Vec<_>>>()?.into_iter().flatten() {
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
    if !no_wait {
        wait(client, tenant, &mut added).await?;
    }
    output.result(&added, |added| describe_added(added))?;
    let failed = added.iter().any(|file| file.error.is_some() || !(no_wait || file.status == "ready"));
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// A file with its name, or the files below a folder with theirs, which keep the folders from that one on. Links are not
/// followed, and what is hidden stays where it is.
fn found_below(path: PathBuf) -> io::Result<Vec<(PathBuf, String)>> {
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let name = name.unwrap_or_else(|| "file".to_owned());
    if !path.is_dir() {
        return Ok(vec![(path, name)]);
    }
    let (mut found, mut folders) = (Vec::new(), vec![(path, name)]);
    while let Some((folder, name)) = folders.pop() {
        let mut entries = fs::read_dir(&folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let own = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if own.starts_with('.') || kind.is_symlink() {
                continue;
            }
            let below = (entry.path(), format!("{name}/{own}"));
            if kind.is_dir() { folders.push(below) } else { found.push(below) }
        }
    }
    Ok(found)
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
        None if file.status == "queued" => format!("· {}: on its way", file.file.display()),
        None if file.status != "ready" => format!("✗ {}: {}", file.file.display(), file.status),
        None => format!("✓ {}: {} passages", file.file.display(), file.passages),
    };
    added.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn describe_documents(documents: &[Document]) -> String {
    let rows: Vec<_> = documents
        .iter()
        .map(|document| {
            // Of one that is not failed it says what the next attempt waits for.
            let state = document
                .error
                .as_ref()
                .map_or_else(|| document.status.clone(), |error| format!("{}: {error}", document.status));
            let folder = if document.folder.is_empty() { String::new() } else { format!("{}/", document.folder) };
            let title = format!("{folder}{}", document.title);
            vec![document.id.clone(), title, document.collection.clone(), document.passages.to_string(), state]
        })
        .collect();
    table(&["ID", "TITLE", "COLLECTION", "PASSAGES", "STATE"], &rows)
}

fn describe_hits(hits: &[Hit]) -> String {
    if hits.is_empty() {
        return "Nothing found.".to_owned();
    }
    let describe = |hit: &Hit| format!("{} · {} · {:.3}\n{}", hit.document, hit.locator, hit.score, hit.text.trim());
    hits.iter().map(describe).collect::<Vec<_>>().join("\n\n")
}
