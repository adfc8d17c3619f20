//! Whether the appliance can answer requests now: what `/readyz` tells a proxy or a monitor.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    db::Databases,
    http::health::Readiness,
    postgres::State,
    support::{Error, Result},
};

/// The parts that every request needs.
pub struct Parts {
    /// The supervised server's state; `None` when the database is somebody else's.
    pub postgres: Option<watch::Receiver<State>>,
    /// The connections.
    pub databases: Databases,
}

#[async_trait]
impl Readiness for Parts {
    async fn check(&self) -> Result<()> {
        if let Some(states) = &self.postgres {
            let state = states.borrow().clone();
            match state {
                State::Ready => {}
                State::Starting => return Err(Error::unavailable("the database is starting")),
                State::Stopped => return Err(Error::unavailable("the appliance is stopping")),
                State::Down { why, remedy } => {
                    let error = Error::unavailable(format!("the database is down: {why}"));
                    return Err(remedy.into_iter().fold(error, Error::remedy));
                }
            }
        }
        self.databases.ping().await?;
        match self.databases.upkeep() {
            None => Ok(()),
            Some((done, of)) => Err(Error::unavailable(format!("bringing tenants up to date: {done} of {of}"))
                .remedy("wait: those that are done are served already")),
        }
    }
}
