//! Which settings there are: the compiled-in example tells.

use toml::Value;

use super::{mcp, oidc, problem::meant, providers, routes};

/// The defaults, and the documentation of every setting.
pub(super) const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Settings that have no default and hence stand in the example as comments.
const WITHOUT_DEFAULT: [&str; 4] = ["database.url", "database.bin_dir", "vault.passphrase", "models.builtin.file"];

/// Settings that are secrets: what was given for them is never shown, however wrong it is.
const SECRET: [&str; 2] = ["database.url", "vault.passphrase"];

/// Sections of which there may be any number, each under a name: `[oidc.google]`.
struct Family {
    /// `oidc`
    section: &'static str,
    settings: &'static [&'static str],
    /// The setting that is a secret; empty where none is.
    secret: &'static str,
    /// The types of the settings that are plain values.
    types: &'static str,
}

const FAMILIES: [Family; 4] = [
    Family {
        section: "oidc",
        settings: &oidc::SETTINGS,
        secret: "client_secret",
        types: "preset = ''\nissuer = ''\nlabel = ''\nclient_id = ''\nscopes = []\nendpoints = []\n\
                link_verified_email = false\njoin_tenant = ''\njoin_role = ''\njoin_domains = []",
    },
    Family {
        section: "providers",
        settings: &providers::SETTINGS,
        secret: "key",
        types: "kind = ''\nurl = ''\nlocal = false\nload_timeout_seconds = 0\nidle_timeout_seconds = 0",
    },
    Family {
        section: "mcp.commands",
        settings: &mcp::SETTINGS,
        secret: "environment",
        types: "program = ''\narguments = []\nmemory_mib = 0",
    },
    Family {
        section: "models.routes",
        settings: &routes::SETTINGS,
        secret: "",
        types: "chain = []\ncontext = []\nrefusal = []\nretries = 0\nlongest_wait_seconds = 0",
    },
];

/// What the settings are: sections, and keys with a value of the default's type.
pub(super) struct Known {
    example: Value,
    /// As [`FAMILIES`].
    of_families: Vec<Value>,
}

impl Known {
    /// What the example file knows.
    pub(super) fn new() -> Self {
        let read = |text| toml::from_str(text).unwrap_or_else(|_| Value::Table(toml::Table::new()));
        Self { example: read(EXAMPLE), of_families: FAMILIES.iter().map(|family| read(family.types)).collect() }
    }

    /// The default, or the section's table.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        match of_family(key) {
            Some((family, setting)) => self.of_families.get(family)?.get(setting),
            None => key.split('.').try_fold(&self.example, |value, part| value.get(part)),
        }
    }

    /// Whether `key` is the name of a section.
    pub(super) fn is_section(&self, key: &str) -> bool {
        FAMILIES.iter().any(|family| family.section == key)
            || member(key).is_some()
            || self.get(key).is_some_and(Value::is_table)
    }

    /// Whether `key`, as `section.key`, is a setting.
    pub(super) fn is_setting(&self, key: &str) -> bool {
        WITHOUT_DEFAULT.contains(&key)
            || of_family(key).is_some_and(|(family, setting)| FAMILIES[family].settings.contains(&setting))
            || self.get(key).is_some_and(|value| !value.is_table())
    }

    /// All settings and sections, with the sections before their names.
    pub(super) fn all(&self) -> Vec<String> {
        let mut keys: Vec<String> = WITHOUT_DEFAULT.iter().map(|&key| key.to_owned()).collect();
        let mut sections = vec![(String::new(), &self.example)];
        while let Some((prefix, Value::Table(table))) = sections.pop() {
            for (name, value) in table {
                let key = format!("{prefix}{name}");
                if value.is_table() {
                    sections.push((format!("{key}."), value));
                }
                keys.push(key);
            }
        }
        keys
    }

    /// What an unknown key was meant to be: a neighbour with a similar name, the same name in another section, or
    /// a section with a similar name.
    pub(super) fn suggestion(&self, key: &str) -> Option<String> {
        let mut all = self.all();
        if let Some((family, _)) = of_family(key) {
            all.extend(FAMILIES[family].settings.iter().map(|setting| format!("{}.{setting}", section(key))));
        }
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let neighbours: Vec<String> =
            all.iter().filter(|other| section(other) == section(key)).map(|k| name(k)).collect();
        let neighbour = meant(&name(key), neighbours.iter().map(String::as_str))
            .map(|name| if section(key).is_empty() { name.to_owned() } else { format!("{}.{name}", section(key)) });
        neighbour
            .or_else(|| all.iter().find(|other| name(other) == name(key)).cloned())
            .map(|key| format!("did you mean {key}?"))
    }
}

/// Whether the setting is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET.contains(&key) || of_family(key).is_some_and(|(family, setting)| FAMILIES[family].secret == setting)
}

/// The family, and the setting's own name, in `oidc.<name>.<setting>`.
fn of_family(key: &str) -> Option<(usize, &str)> {
    let (section, setting) = key.rsplit_once('.')?;
    Some((member(section)?, setting))
}

/// The family of which `key` is a member: `oidc.<name>`, with a name that can stand in an address.
fn member(key: &str) -> Option<usize> {
    let (section, name) = key.rsplit_once('.')?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = (1..=32).contains(&name.len()) && name.chars().all(allowed);
    FAMILIES.iter().position(|family| is_name && family.section == section)
}

/// The part of `section.key` before the key.
pub(super) fn section(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(section, _)| section)
}
