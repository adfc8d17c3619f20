//! The developer API and the MCP server on the real appliance, driven by the official Python clients.

mod mcp;
mod openai;
mod servers;

use std::{path::Path, process::Command};

use crate::{appliance::Appliance, ollama_stand_in::StandIn};

const EMAIL: &str = "jo@acme.example";
const PASSWORD: &str = "correct horse battery";

/// The appliance with a stand-in for Ollama and a handbook, and a place to drive it from.
struct Desk {
    aegis: Appliance,
    ollama: StandIn,
}

impl Desk {
    async fn new() -> Self {
        Self::with("").await
    }

    /// The same, with further settings.
    async fn with(more: &str) -> Self {
        let ollama = StandIn::start().await;
        let settings = format!("[models]\nchain = [\"ollama\"]\n[models.ollama]\nurl = {:?}\n{more}", ollama.url());
        let aegis = blocking(move || {
            let mut aegis = Appliance::new(&settings);
            aegis.serve();
            aegis.with_owner(EMAIL, PASSWORD);
            let handbook = aegis.file("handbook.md", b"Parental leave is sixteen weeks. It is paid in full.\n");
            aegis.json(&["kb", "add", &handbook, "--tenant", "acme"]);
            aegis
        });
        Self { aegis, ollama }
    }

    /// A token of the owner that carries these permissions.
    fn token(&self, scopes: &[&str]) -> String {
        let mut arguments = vec!["token", "create", "--user", EMAIL, "--tenant", "acme", "--name", "test"];
        for scope in scopes {
            arguments.extend(["--scope", scope]);
        }
        let made = blocking(|| self.aegis.json(&arguments));
        made["secret"].as_str().or_else(|| made["token"].as_str()).expect("the token is printed").to_owned()
    }

    /// Runs a part of a script with the official clients; it must succeed, and what it prints is shown.
    fn python(&self, script: &str, part: &str, token: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let clients = root.join("target/test-tools/clients");
        assert!(clients.join("openai").is_dir(), "the clients are not installed: run tests/run, which does it");
        let output = blocking(|| {
            Command::new("python3")
                .env("PYTHONPATH", &clients)
                .env("AEGIS_URL", self.aegis.url())
                .env("AEGIS_TOKEN", token)
                .arg(root.join("tests/api").join(script))
                .arg(part)
                .output()
                .expect("python3 runs")
        });
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{said}");
        assert!(output.status.success(), "{part}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

/// Waits without keeping the stand-in from answering.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
