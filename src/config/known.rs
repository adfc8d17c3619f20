//! Which settings there are: the compiled-in example tells.

use toml::Value;

use super::problem::meant;

/// The defaults, and the documentation of every setting.
pub(super) const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Settings that have no default and hence stand in the example as comments.
const WITHOUT_DEFAULT: [&str; 4] = ["database.url", "database.bin_dir", "vault.passphrase", "models.builtin.file"];

/// Settings that are secrets: what was given for them is never shown, however wrong it is.
pub(super) const SECRET: [&str; 2] = ["database.url", "vault.passphrase"];

/// What the settings are: sections, and keys with a value of the default's type.
pub(super) struct Known(Value);

impl Known {
    /// What the example file knows.
    pub(super) fn new() -> Self {
        Self(toml::from_str(EXAMPLE).unwrap_or_else(|_| Value::Table(toml::Table::new())))
    }

    /// The default, or the section's table.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.0, |value, part| value.get(part))
    }

    /// Whether `key` is the name of a section.
    pub(super) fn is_section(&self, key: &str) -> bool {
        self.get(key).is_some_and(Value::is_table)
    }

    /// Whether `key`, as `section.key`, is a setting.
    pub(super) fn is_setting(&self, key: &str) -> bool {
        WITHOUT_DEFAULT.contains(&key) || self.get(key).is_some_and(|value| !value.is_table())
    }

    /// All settings and sections, with the sections before their names.
    pub(super) fn all(&self) -> Vec<String> {
        let mut keys: Vec<String> = WITHOUT_DEFAULT.iter().map(|&key| key.to_owned()).collect();
        let mut sections = vec![(String::new(), &self.0)];
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
        let all = self.all();
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

/// The part of `section.key` before the key.
pub(super) fn section(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(section, _)| section)
}
