//! With which settings the appliance runs: written into its own log at the first start, and whenever they are others.

use serde_json::{Map, Value, json};

use crate::{
    audit::{self, Action, Actor, Log, NewEntry},
    config::Config,
    db::Databases,
    support::{Clock, Error, Result},
};

/// Compares the settings with those of the last start and writes down what is new. Secrets are masked before.
///
/// # Errors
/// When the database does not answer.
pub async fn note(databases: &Databases, config: &Config, clock: &dyn Clock) -> Result<()> {
    let log = Log::of_appliance(databases);
    // A secret serialises as a mask.
    let settings = flat(&serde_json::to_value(config).map_err(Error::internal)?);
    let last = audit::newest_of(&log, Action::ConfigurationChanged).await?;
    let before = last.as_ref().and_then(|entry| entry.detail["settings"].as_object());
    if before == Some(&settings) {
        return Ok(());
    }
    let changed = before.map(|before| changes(before, &settings));
    let detail = json!({ "version": env!("CARGO_PKG_VERSION"), "changed": changed, "settings": settings });
    let entry =
        NewEntry { actor: Actor::System, action: Action::ConfigurationChanged, run: None, subject: None, detail };
    audit::append(&log, clock, entry).await.map(|_| ())
}

/// `{"server.listen": "127.0.0.1:8480", …}`
fn flat(settings: &Value) -> Map<String, Value> {
    fn walk(prefix: &str, value: &Value, into: &mut Map<String, Value>) {
        let Value::Object(section) = value else {
            into.insert(prefix.to_owned(), value.clone());
            return;
        };
        for (name, value) in section {
            walk(&if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") }, value, into);
        }
    }
    let mut all = Map::new();
    walk("", settings, &mut all);
    all
}

fn changes(before: &Map<String, Value>, now: &Map<String, Value>) -> Value {
    let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
    let changed = names
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| (name.clone(), json!({ "from": before.get(name), "to": now.get(name) })));
    Value::Object(changed.collect())
}
