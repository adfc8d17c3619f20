//! The command line: one file per command, all speaking to the appliance over its admin socket.
//!
//! Its words and its JSON are an interface: scripts rest on them. With `--json` one JSON document goes to
//! standard output and nothing else; progress and messages go to standard error.

mod agent;
mod ask;
mod audit;
mod boardroom;
mod client;
mod config;
mod doctor;
mod egress;
mod kb;
mod key;
mod models;
mod output;
mod permissions;
mod secret;
mod serve;
mod tenant;
mod token;
mod usage;
mod user;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{client::Client, output::Output};
use crate::{agents::tools, config::Config, integrations::mcp, knowledge, models::gguf, postgres};

/// A staff of AI agents on your own server.
#[derive(Debug, Parser)]
#[command(name = "aegis", version, about, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file; without it the defaults hold (`aegis config show`).
    #[arg(long, global = true, value_name = "FILE", env = "AEGIS_CONFIG")]
    config: Option<PathBuf>,
    /// Where the appliance keeps everything; wins over the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON document on standard output and nothing else.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance: database, jobs, console.
    Serve,
    /// Create, list, rename, suspend and delete tenants.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Create, invite, list, suspend and remove people.
    #[command(subcommand)]
    User(user::User),
    /// Make, list and revoke API tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// Add, list, remove and search documents.
    #[command(subcommand)]
    Kb(kb::Kb),
    /// List models, try them, fetch them.
    #[command(subcommand)]
    Models(models::Models),
    /// Ask an agent and wait for the answer.
    Ask(ask::Ask),
    /// List, show, import and export agents.
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Put a question to several agents at once, and print a meeting's record.
    #[command(subcommand)]
    Boardroom(boardroom::Boardroom),
    /// Show which role may do what, or who may use which route.
    Permissions(permissions::Permissions),
    /// Set, list and delete a tenant's secrets.
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Show, rotate and protect the keys that secrets are sealed with.
    #[command(subcommand)]
    Key(key::Key),
    /// Verify, show, export and shorten audit logs; replay a run.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show what models were used for in a month, and what that cost.
    Usage(usage::Usage),
    /// Bound what a tenant or an agent may spend in a month.
    #[command(subcommand)]
    Budget(usage::Budget),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Show which addresses the appliance may reach, and which setting allows each.
    Egress(egress::Egress),
    /// Look for problems and name their remedies.
    Doctor(doctor::Doctor),
}

/// Runs the program and says how it ended: 0 done, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    if let Some(code) = run_as_child() {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Printing help to a closed pipe is not a failure worth reporting.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let output = Output::new(arguments.json);
    match dispatch(arguments, &output) {
        Ok(code) => code,
        Err(error) => {
            Output::error(&error);
            ExitCode::from(1)
        }
    }
}

/// The appliance runs parsers, the inference engine and Postgres in children of this same binary.
fn run_as_child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    match first.to_str()? {
        "__extract" => Some(knowledge::extract::child::main()),
        "__tool" => Some(tools::sandbox::main()),
        mcp::child::SUBCOMMAND => Some(mcp::child::main(arguments)),
        "__engine" => Some(gguf::child::main(arguments)),
        "__launch" => Some(postgres::launch::main(arguments)),
        _ => None,
    }
}

fn dispatch(arguments: Arguments, output: &Output) -> anyhow::Result<ExitCode> {
    let load = || Config::load(arguments.config.as_deref(), arguments.data_dir.as_deref());
    let command = match arguments.command {
        Command::Config(command) => return command.run(load, output),
        Command::Serve => return serve::run(load()?),
        Command::Permissions(permissions) if !permissions.routes => return permissions::Permissions::table(output),
        command => command,
    };
    let config = load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Command::Doctor(doctor) = command {
            return Box::pin(doctor.run(&config, output)).await;
        }
        let client = Client::connect(&config).await?;
        let result = match command {
            Command::Tenant(command) => command.run(&client, output).await,
            Command::User(command) => command.run(&client, output).await,
            Command::Token(command) => command.run(&client, output).await,
            Command::Kb(command) => command.run(&client, output).await,
            Command::Models(command) => command.run(&client, output).await,
            Command::Ask(command) => command.run(&client, output).await,
            Command::Agent(command) => command.run(&client, output).await,
            Command::Boardroom(command) => command.run(&client, output).await,
            Command::Secret(command) => command.run(&client, output).await,
            Command::Key(command) => command.run(&client, &config, output).await,
            Command::Audit(command) => command.run(&client, output).await,
            Command::Usage(command) => command.run(&client, output).await,
            Command::Budget(command) => command.run(&client, output).await,
            Command::Egress(command) => command.run(&client, output).await,
            Command::Permissions(command) => command.list_routes(&client, output).await,
            Command::Config(_) | Command::Serve | Command::Doctor(_) => unreachable!("handled above"),
        };
        client.close().await;
        result
    })
}
