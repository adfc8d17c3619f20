//! The rules themselves, as a function of the map and the sources, so that they can be tried on samples.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{code_of, crate_paths, words};

/// The most lines of a file.
const LINES: usize = 500;

/// The floors and arrows that `src/lib.rs` draws.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Map {
    floors: BTreeMap<String, u32>,
    arrows: BTreeSet<(String, String)>,
    /// What every room may name.
    common: BTreeSet<String>,
}

impl Map {
    /// Reads the map out of the first comment of `lib.rs`.
    pub fn read(text: &str) -> Self {
        let mut map = Self::default();
        let mut floor = None;
        for line in text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim) {
            if let Some((_, after)) = line.split_once("── floor ") {
                floor = after.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok());
            } else if line.starts_with("```") {
                floor = None;
            } else if line.contains('→') {
                line.split("  ").filter(|part| part.contains('→')).for_each(|arrow| map.draw(arrow));
            } else if let (Some(floor), Some((room, _))) = (floor, line.split_once('/')) {
                map.floors.insert(room.to_owned(), floor);
            }
        }
        map
    }

    /// All rooms, by name.
    pub fn rooms(&self) -> Vec<&str> {
        self.floors.keys().map(String::as_str).collect()
    }

    /// `a, b → c, d`; `every room → e`.
    fn draw(&mut self, arrow: &str) {
        let Some((from, to)) = arrow.split_once('→') else { return };
        let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        for to in names(to) {
            if from.trim() == "every room" {
                self.common.insert(to);
                continue;
            }
            self.arrows.extend(names(from).into_iter().map(|from| (from, to.clone())));
        }
    }

    /// Why `from` may not name `to`, if it may not.
    fn objection(&self, from: &str, to: &str) -> Option<String> {
        let (Some(here), Some(there)) = (self.floors.get(from), self.floors.get(to)) else {
            return Some(format!("{from} or {to} is on no floor of the map"));
        };
        let drawn = self.arrows.contains(&(from.to_owned(), to.to_owned()));
        if from == to || self.common.contains(to) || there < here || (there == here && drawn) {
            None
        } else if there > here {
            Some(format!("{to} is on a higher floor"))
        } else {
            Some(format!("no arrow {from} → {to} is drawn"))
        }
    }
}

/// All violations in these sources: `src/db/pools.rs:12: …`.
pub fn check(map: &Map, sources: &[(String, String)]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut edges = BTreeSet::new();
    for (path, text) in sources {
        let code = code_of(text);
        let Some((room, modules)) = place(path) else { continue };
        for (line, named) in crate_paths(&code, modules) {
            let to = named.split("::").next().unwrap_or_default();
            // Tools live with what they act on; the trait that they implement is the one thing named upwards.
            let is_tool = path.ends_with("/tools.rs") && named == "agents::tool";
            if !map.floors.contains_key(to) || is_tool {
                continue;
            }
            edges.insert((room.to_owned(), to.to_owned()));
            if let Some(objection) = map.objection(room, to) {
                violations.push(format!("{path}:{line}: {room} names {to}: {objection}"));
            }
        }
        for (line, word) in words(&code) {
            if let Some(rule) = misplaced(path, room, word) {
                violations.push(format!("{path}:{line}: {word} {rule}"));
            }
        }
    }
    for (from, to) in &edges {
        if from < to && edges.contains(&(to.clone(), from.clone())) {
            violations.push(format!("{from} and {to} name each other"));
        }
    }
    violations
}

/// What is wrong with a file's form.
pub fn form(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    if !text.starts_with("//!") {
        violations.push(format!("{path}:1: does not open with //! and what it is for"));
    }
    let lines = text.lines().count();
    if lines > LINES {
        violations.push(format!("{path}: {lines} lines, {LINES} are allowed: look for the second idea in it"));
    }
    violations
}

/// The room of a file, and how many modules deep it is. `lib.rs` and `main.rs` are no room.
fn place(path: &str) -> Option<(&str, usize)> {
    let inner = path.strip_prefix("src/")?;
    let (room, _) = inner.split_once('/')?;
    let depth = inner.split('/').count();
    Some((room, if inner.ends_with("/mod.rs") { depth - 1 } else { depth }))
}

/// The rule that a word breaks where it stands.
fn misplaced(path: &str, room: &str, word: &str) -> Option<&'static str> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let within = |folder: &str| path.contains(&format!("/{folder}/"));
    match word {
        "sqlx" | "pgvector" if file != "store.rs" && !within("store") && !["db", "jobs"].contains(&room) => {
            Some("stands only in store.rs, db/ and jobs/")
        }
        "axum" | "axum_extra" if file != "http.rs" && !within("http") && room != "app" => {
            Some("stands only in http/, http.rs and app/")
        }
        "reqwest" | "hickory_resolver" if room != "egress" => Some("stands only in egress/"),
        "pretended" if room != "egress" => Some("is for tests: it makes other addresses the internet"),
        // `http` accepts connections; nobody but `egress` opens them.
        "TcpStream" | "TcpSocket" | "UdpSocket" | "lookup_host" | "ToSocketAddrs"
            if !["egress", "http"].contains(&room) =>
        {
            Some("would be a way out beside egress/")
        }
        "teloxide" if room != "telegram" => Some("stands only in telegram/"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! The map.
//! ```text
//! main.rs         parse
//!  ── floor 4 ──────
//! agents/         soul, tool
//!  ── floor 3 ──────
//! knowledge/      search
//! models/         chat
//!  ── floor 1: the ground ──
//! db/             pools; nothing else opens a connection
//! config/         figment
//! support/        ids
//! ```
//!
//! ```text
//! every room → support          knowledge → models
//! db → config
//! ```
pub mod db;
";

    fn violations(path: &str, text: &str) -> Vec<String> {
        check(&Map::read(LIB), &[(path.to_owned(), text.to_owned())])
    }

    #[test]
    fn the_map_is_read_as_it_is_drawn() {
        let map = Map::read(LIB);
        assert_eq!(map.rooms(), ["agents", "config", "db", "knowledge", "models", "support"]);
        assert_eq!(map.floors["knowledge"], 3);
        assert!(map.arrows.contains(&("db".to_owned(), "config".to_owned())));
        assert_eq!(map.common.len(), 1);
    }

    #[test]
    fn lower_floors_arrows_and_support_may_be_named() {
        for (path, text) in [
            ("src/agents/mod.rs", "use crate::{db::TenantDb, models::chat, support::Result, agents::tool};"),
            ("src/knowledge/mod.rs", "use crate::models::embedding;"),
            ("src/knowledge/tools.rs", "use crate::agents::tool::Tool;"),
            ("src/db/mod.rs", "use crate::config; // crate::agents"),
            ("src/db/store.rs", "use sqlx::PgPool; const S: &str = \"crate::models\";"),
            ("src/lib.rs", "pub use crate::agents::Agents;"),
        ] {
            assert_eq!(violations(path, text), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn planted_violations_are_found() {
        for (path, text, told) in [
            ("src/knowledge/mod.rs", "\nuse crate::agents::Agents;", "src/knowledge/mod.rs:2: knowledge names agents"),
            ("src/models/mod.rs", "use crate::{support, knowledge::Hit};", "no arrow models → knowledge"),
            ("src/config/mod.rs", "fn f() { crate::db::violates() }", "no arrow config → db"),
            ("src/db/pools.rs", "use super::super::models::chat;", "models is on a higher floor"),
            ("src/knowledge/tools.rs", "use crate::agents::Agents;", "higher floor"),
            ("src/knowledge/search.rs", "use crate::agents::tool::Tool;", "higher floor"),
            ("src/knowledge/mod.rs", "let x = sqlx::query(\"\");", "only in store.rs"),
            ("src/knowledge/ingest.rs", "use axum::Json;", "only in http/"),
            ("src/models/ollama.rs", "reqwest::get(url)", "only in egress/"),
            ("src/models/ollama.rs", "hickory_resolver::TokioResolver", "only in egress/"),
            ("src/knowledge/mod.rs", "tokio::net::TcpStream::connect(host)", "a way out beside egress/"),
        ] {
            let found = violations(path, text);
            assert!(found.iter().any(|violation| violation.contains(told)), "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn two_rooms_that_name_each_other_are_found_even_along_arrows() {
        let lib = LIB.replace("db → config", "db → config       config → db");
        let sources = [
            ("src/db/mod.rs".to_owned(), "use crate::config::Database;".to_owned()),
            ("src/config/mod.rs".to_owned(), "use crate::db::Server;".to_owned()),
        ];
        assert_eq!(check(&Map::read(&lib), &sources), ["config and db name each other"]);
    }

    #[test]
    fn a_file_without_a_purpose_and_a_file_too_long_are_found() {
        assert_eq!(form("src/a.rs", "//! What for.\n"), Vec::<String>::new());
        assert_eq!(form("src/a.rs", "use x;\n").len(), 1);
        assert_eq!(form("src/a.rs", &format!("//! What for.\n{}", "\n".repeat(500))).len(), 1);
    }
}
