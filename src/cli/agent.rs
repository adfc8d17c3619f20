//! `aegis agent …`: the staff of a tenant.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    client::{Client, encode},
    output::{Output, table},
};
use crate::{
    agents::staff::{
        Draft,
        workspace::{self, Workspace},
    },
    support::Error,
};

/// `aegis agent`
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// List the agents.
    List {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
    },
    /// Print an agent's profile.
    Show {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// The agent's id, as `agent list` shows it.
        agent: String,
    },
    /// Add an agent from an OpenClaw workspace, or from what `agent export` wrote.
    Import {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// Another name than the workspace gives it.
        #[arg(long)]
        name: Option<String>,
        /// Only show what would become of each file.
        #[arg(long)]
        dry_run: bool,
        /// The workspace's folder, its files, or a .zip.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write an agent as SOUL.md and IDENTITY.md.
    Export {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// The agent's id, as `agent list` shows it.
        agent: String,
        /// The folder, which is made; files that are there already are left alone.
        #[arg(long)]
        to: PathBuf,
    },
}

/// An agent as the admin socket describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    id: String,
    name: String,
    title: String,
    summary: String,
    brief: String,
    hue: u16,
    route: String,
    tools: Vec<String>,
    soul: String,
    version: u32,
    enabled: bool,
    built_in: bool,
    changed: bool,
    /// How much of what was brought along it remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    remembers: Option<usize>,
}

impl Agent {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        match self {
            Self::List { tenant } => {
                let agents: Vec<Shown> = client.get(&route(&tenant)).await?;
                output.result(&agents, |agents| describe(agents))?;
            }
            Self::Show { tenant, agent } => {
                let agent: Shown = client.get(&format!("{}/{}", route(&tenant), encode(&agent))).await?;
                output.result(&agent, |agent| agent.soul.clone())?;
            }
            Self::Import { tenant, name, dry_run, paths } => {
                let mut workspace = workspace::read(read(&paths)?)?;
                if let Some(name) = name {
                    workspace.draft.name = name;
                }
                leave_the_person_out(&mut workspace);
                if dry_run {
                    output.result(&workspace, fates)?;
                    return Ok(ExitCode::SUCCESS);
                }
                Output::note(fates(&workspace));
                let body = json!({ "draft": workspace.draft, "memory": workspace.memory });
                let agent: Shown = client.post(&route(&tenant), &body).await?;
                output.result(&agent, |agent| {
                    let remembers = agent.remembers.map(|facts| format!(" It remembers {facts} things."));
                    format!("Added {} as `{}`.{}", agent.name, agent.id, remembers.unwrap_or_default())
                })?;
            }
            Self::Export { tenant, agent, to } => {
                let agent: Shown = client.get(&format!("{}/{}", route(&tenant), encode(&agent))).await?;
                let written = write(&agent.draft(), &to)?;
                output.result(&written, |written| {
                    written.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n")
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Shown {
    fn draft(self) -> Draft {
        let Self { name, title, summary, brief, hue, route, tools, soul, .. } = self;
        Draft { name, title, summary, brief, hue, route, tools, soul, note: String::new() }
    }

    fn state(&self) -> &'static str {
        match (self.enabled, self.built_in, self.changed) {
            (false, _, _) => "switched off",
            (true, true, false) => "as it comes",
            (true, true, true) => "edited",
            (true, false, _) => "your own",
        }
    }
}

fn route(tenant: &str) -> String {
    format!("/tenants/{}/agents", encode(tenant))
}

/// The command line is nobody of the organisation, so there is nobody of whom anything could be remembered.
fn leave_the_person_out(workspace: &mut Workspace) {
    workspace.about_you.clear();
    for fate in workspace.files.iter_mut().filter(|fate| fate.file == "USER.md") {
        "nothing: import it in the console, where it is known who you are".clone_into(&mut fate.becomes);
    }
}

fn fates(workspace: &Workspace) -> String {
    let rows: Vec<_> = workspace.files.iter().map(|fate| vec![fate.file.clone(), fate.becomes.clone()]).collect();
    table(&["FILE", "BECOMES"], &rows)
}

fn describe(agents: &[Shown]) -> String {
    let row = |agent: &Shown| {
        let tools = if agent.tools.is_empty() { "none".to_owned() } else { agent.tools.join(" ") };
        vec![agent.id.clone(), agent.name.clone(), agent.title.clone(), agent.state().to_owned(), tools]
    };
    table(&["ID", "NAME", "POST", "STATE", "TOOLS"], &agents.iter().map(row).collect::<Vec<_>>())
}

/// The files, and of folders those that lie directly in them.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path).map_err(|fault| unreadable(path, fault))? {
                let entry = entry?.path();
                if entry.is_file() && entry.extension().is_some_and(|extension| extension == "md") {
                    inside.push(entry);
                }
            }
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    let mut read = Vec::new();
    for path in files {
        let bytes = std::fs::read(&path).map_err(|fault| unreadable(&path, fault))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        read.push((name, bytes));
    }
    Ok(read)
}

fn unreadable(path: &Path, fault: std::io::Error) -> Error {
    Error::invalid(format!("{} cannot be read", path.display())).because(fault)
}

fn write(draft: &Draft, to: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let refused = |path: &Path, fault: std::io::Error| {
        Error::invalid(format!("{} cannot be written", path.display()))
            .remedy("name another folder with --to")
            .because(fault)
    };
    std::fs::create_dir_all(to).map_err(|fault| refused(to, fault))?;
    let mut written = Vec::new();
    for (name, text) in workspace::write(draft) {
        let path = to.join(name);
        let mut file = std::fs::File::create_new(&path).map_err(|fault| refused(&path, fault))?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|fault| refused(&path, fault))?;
        written.push(path);
    }
    Ok(written)
}
