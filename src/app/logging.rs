//! Where log lines go: standard error, as text for people or JSON for collectors.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Libraries that tell at `info` what only their authors want to know. Directives in `log.level` win over these.
const QUIET: &str = "sqlx=warn,refinery_core=warn,apalis_core=warn";

/// Starts logging for `aegis serve`.
pub fn start(settings: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.level))
        .with_context(|| format!("log.level is {:?}, which is no level and no list of directives", settings.level))?;
    let json = match settings.format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?;
    } else {
        let colours = std::io::stderr().is_terminal();
        registry.with(fmt::layer().with_ansi(colours).with_target(false).with_writer(std::io::stderr)).try_init()?;
    }
    Ok(())
}

/// For a command that boots an appliance of its own: only what goes wrong, so that its output stays readable.
/// `AEGIS_LOG__LEVEL` asks for more.
pub fn start_for_command() {
    let level = std::env::var("AEGIS_LOG__LEVEL").unwrap_or_else(|_| "warn".to_owned());
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("warn"));
    let layer = fmt::layer().with_ansi(false).with_target(false).with_writer(std::io::stderr);
    // A second start in the same process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
}
