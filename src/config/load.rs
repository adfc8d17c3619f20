//! From the compiled-in file, the user's file, the environment and the command line to one [`Config`].

use std::{collections::BTreeMap, env, fs, path::Path};

use figment::{
    Figment,
    error::Kind as Refusal,
    providers::{Format as _, Serialized, Toml},
};
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::{
    Config,
    check::check,
    known::{EXAMPLE, Known, is_secret, section},
    problem::{Origin, Problem, meant},
    secret::MASK,
};
use crate::support::{Error, Result};

/// Variables that begin like a setting and are none: where the file is, and what tests and builds use.
const NOT_SETTINGS: [&str; 3] = ["AEGIS_CONFIG", "AEGIS_TEST_", "AEGIS_PACK"];

const PREFIX: &str = "AEGIS_";

/// What somebody has set, by `section.key`.
pub(super) type Given = BTreeMap<String, Setting>;

/// One setting as it was given.
pub(super) struct Setting {
    value: Value,
    pub(super) origin: Origin,
}

impl Config {
    /// The configuration from all sources: the defaults, `file`, the environment, and `data_dir` from the command line.
    ///
    /// # Errors
    /// `Invalid`, with every problem on a line of its own: `aegis.toml:12: server.listn: …`.
    pub fn load(file: Option<&Path>, data_dir: Option<&Path>) -> Result<Self> {
        let variables =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::load_from(file, variables, data_dir).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            Error::invalid(format!("the configuration cannot be used:\n{}", lines.join("\n")))
        })
    }

    /// As [`Config::load`], with these variables for the environment.
    ///
    /// # Errors
    /// All problems, those of the file first, in its order.
    pub fn load_from(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        data_dir: Option<&Path>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut given = Given::new();
        if let Some(path) = file {
            read_file(path, &mut given, &mut problems);
        }
        read_variables(variables, &mut given, &mut problems);
        if let Some(directory) = data_dir {
            let value = Value::String(directory.to_string_lossy().into_owned());
            given.insert("data_dir".to_owned(), Setting { value, origin: Origin::CommandLine("--data-dir") });
        }
        let mut unusable = Vec::new();
        given.retain(|key, setting| match alone(key, setting) {
            Ok(()) => true,
            Err(problem) => {
                unusable.push(key.clone());
                problems.push(problem);
                false
            }
        });
        let merged = given
            .iter()
            .fold(defaults(), |figment, (key, setting)| figment.merge(Serialized::default(key, &setting.value)));
        // Each setting was accepted by itself, so that together they are too.
        let config = merged
            .extract::<Self>()
            .map_err(|error| vec![Problem::new(Origin::Default, &error.path.join("."), error.kind.to_string())]);
        match config {
            Ok(mut config) => {
                // Where a setting fell back to its default, what contradicts the default is no news.
                let doubtful = |problem: &Problem| unusable.iter().any(|key| section(key) == section(&problem.key));
                problems.extend(check(&config, &given).into_iter().filter(|problem| !doubtful(problem)));
                if let Ok(absolute) = std::path::absolute(&config.data_dir) {
                    config.data_dir = absolute;
                }
                if problems.is_empty() { Ok(config) } else { Err(in_order(problems)) }
            }
            Err(error) => Err(if problems.is_empty() { error } else { in_order(problems) }),
        }
    }

    /// The configuration as TOML, with secrets masked, passwords in addresses too.
    ///
    /// # Errors
    /// `Internal` when it cannot be written as TOML.
    pub fn to_toml_masked(&self) -> Result<String> {
        let mut value = Value::try_from(self).map_err(Error::internal)?;
        mask_addresses(&mut value);
        toml::to_string_pretty(&value).map_err(Error::internal)
    }
}

fn defaults() -> Figment {
    Figment::from(Toml::string(EXAMPLE))
}

/// Problems of the file by line, then the others.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by_key(|problem| match &problem.origin {
        Origin::File(_, line) => *line,
        _ => usize::MAX,
    });
    problems
}

fn read_file(path: &Path, given: &mut Given, problems: &mut Vec<Problem>) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(Problem::new(Origin::File(path.to_owned(), 0), "", format!("cannot be read: {error}")));
            return;
        }
    };
    let (document, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        // Of the line itself only the name is shown: what follows may be a secret.
        let name = text.lines().nth(line - 1).and_then(|text| text.split_once('=')).map_or("", |(name, _)| name.trim());
        let suggestion = (!name.is_empty()).then(|| format!("a text stands in quotes: {name} = \"…\""));
        let problem = Problem::new(Origin::File(path.to_owned(), line), name, format!("not TOML: {}", error.message()));
        problems.push(problem.suggest(suggestion));
    }
    if !errors.is_empty() {
        return;
    }
    let whole: Value = toml::from_str(&text).unwrap_or_else(|_| Value::Table(toml::Table::new()));
    let mut file = FileReader { path, text: &text, whole, known: Known::new(), given, problems };
    file.section("", document.get_ref());
}

struct FileReader<'f> {
    path: &'f Path,
    text: &'f str,
    whole: Value,
    known: Known,
    given: &'f mut Given,
    problems: &'f mut Vec<Problem>,
}

impl FileReader<'_> {
    fn section(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            self.entry(&key, name.span().start, value);
        }
    }

    fn entry(&mut self, key: &str, start: usize, value: &Spanned<DeValue<'_>>) {
        let origin = Origin::File(self.path.to_owned(), line_of(self.text, start));
        if self.known.is_section(key) {
            if let Some(table) = value.get_ref().as_table() {
                self.section(key, table);
            } else {
                let message = format!("is a section, not a setting: write [{key}] on a line of its own");
                self.problems.push(Problem::new(origin, key, message));
            }
        } else if self.known.is_setting(key) {
            if let Some(value) = key.split('.').try_fold(&self.whole, |value, part| value.get(part)) {
                self.given.insert(key.to_owned(), Setting { value: value.clone(), origin });
            }
        } else {
            let what = if value.get_ref().is_table() { "there is no such section" } else { "there is no such setting" };
            let suggestion = self.known.suggestion(key);
            self.problems.push(Problem::new(origin, key, what).suggest(suggestion));
        }
    }
}

/// The line, from 1, on which the byte at `offset` stands.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

fn read_variables(
    variables: impl IntoIterator<Item = (String, String)>,
    given: &mut Given,
    problems: &mut Vec<Problem>,
) {
    let known = Known::new();
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if NOT_SETTINGS.iter().any(|other| name.starts_with(other)) {
            continue;
        }
        let key = path.to_lowercase().replace("__", ".");
        let origin = Origin::Variable(name.clone());
        if known.is_setting(&key) {
            let value = value_of(&text, known.get(&key));
            given.insert(key, Setting { value, origin });
        } else {
            let message =
                if known.is_section(&key) { "is a section, not a setting" } else { "there is no such setting" };
            let variable = |key: String| format!("{}{}", PREFIX, key.to_uppercase().replace('.', "__"));
            let suggestion = meant(&key, known.all().iter().map(String::as_str))
                .filter(|meant| known.is_setting(meant))
                .map(|meant| format!("did you mean {}?", variable(meant.to_owned())));
            problems.push(Problem::new(origin, &key, message).suggest(suggestion));
        }
    }
}

/// A variable's text as a value of the type that the setting has: text needs no quotes there.
fn value_of(text: &str, default: Option<&Value>) -> Value {
    let as_toml = || toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?.remove("value");
    let parsed = match default {
        Some(Value::String(_)) => None,
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            Some(Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect()))
        }
        // Without a default: a path, or a secret that may be written { file = … }.
        None if !text.trim_start().starts_with('{') => None,
        _ => as_toml(),
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Whether the setting is accepted when nothing else differs from the defaults.
fn alone(key: &str, setting: &Setting) -> Result<(), Problem> {
    let figment = defaults().merge(Serialized::default(key, &setting.value));
    let Err(error) = figment.extract::<Config>() else { return Ok(()) };
    let problem = |message: String| Problem::new(setting.origin.clone(), key, message);
    Err(match error.kind {
        Refusal::UnknownVariant(found, allowed) => {
            let suggestion = meant(&found, allowed.iter().copied()).map(|meant| format!("did you mean \"{meant}\"?"));
            problem(format!("\"{found}\" is not among {}", allowed.join(", "))).suggest(suggestion)
        }
        // Within a setting that is a table: `models` of a provider.
        Refusal::UnknownField(found, allowed) if !is_secret(key) => {
            let suggestion = meant(&found, allowed.iter().copied()).map(|meant| format!("did you mean \"{meant}\"?"));
            problem(format!("there is no \"{found}\" in it, there are {}", allowed.join(", "))).suggest(suggestion)
        }
        _ if is_secret(key) => problem(format!("{} is expected", expected(key))),
        _ => problem(format!("{} is expected, not {}", expected(key), described(&setting.value))),
    })
}

fn expected(key: &str) -> &'static str {
    match Known::new().get(key) {
        Some(Value::Integer(_)) => "a whole number, not negative,",
        Some(Value::Boolean(_)) => "true or false",
        Some(Value::Array(_)) => "a list of texts, [\"…\", \"…\"],",
        Some(_) => "a text in quotes",
        None if key.starts_with("providers.") && !is_secret(key) => {
            "models by their names, { \"model\" = { context = 131072 } },"
        }
        None if is_secret(key) => "a text in quotes, { file = \"/path\" } or { env = \"NAME\" }",
        None => "a path in quotes",
    }
}

/// The value's kind, and the value itself where that cannot be a secret.
fn described(value: &Value) -> String {
    match value {
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(value) => format!("{value}"),
        Value::String(text) if text.len() <= 40 => format!("\"{text}\""),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
    }
}

/// `postgres://user:password@host` becomes `postgres://•••@host`.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{}", &rest[authority.len()..]),
        None => text.to_owned(),
    }
}

fn mask_addresses(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked(text),
        Value::Array(values) => values.iter_mut().for_each(mask_addresses),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| mask_addresses(value)),
        _ => {}
    }
}
