//! `aegis serve`: the appliance in the foreground, until it is told to stop.

use std::process::ExitCode;

use crate::{
    app::{
        lifecycle::{Appliance, Serving, StopSignals},
        logging,
    },
    config::Config,
};

/// Runs until SIGTERM or SIGINT, then stops everything in order.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    logging::start(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = StopSignals::listen()?;
        let mut appliance = Appliance::start(config, Serving::Everything).await?;
        let ended = tokio::select! {
            signal = signals.wait() => {
                tracing::info!(signal, "stopping");
                Ok(())
            }
            error = appliance.failed() => Err(error),
        };
        appliance.stop().await;
        ended
    })?;
    Ok(ExitCode::SUCCESS)
}
