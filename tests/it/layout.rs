//! The house's rules, read off the sources: who may name whom, where SQL, axum and reqwest may stand, how long a
//! file may be, and how much the browser is given.

mod checker;
mod source;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::checker::{Map, check};

/// The most bytes of all scripts and styles together, uncompressed.
const BROWSER_BYTES: u64 = 50_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `directory` with one of these extensions.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The sources of a folder, by their paths from the folder above it.
fn sources(folder: &str) -> Vec<(String, String)> {
    files(&root().join(folder), &["rs"])
        .into_iter()
        .map(|path| (path.strip_prefix(root()).unwrap().display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn every_source_keeps_the_rules_of_the_house() {
    let sources = sources("src");
    assert!(sources.len() > 50, "the sources were found");
    let map = Map::read(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let violations = check(&map, &sources);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let files: Vec<_> = ["src", "tests"].into_iter().flat_map(sources).collect();
    let violations: Vec<String> = files.iter().flat_map(|(path, text)| checker::form(path, text)).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn scripts_and_styles_together_stay_below_fifty_kilobytes() {
    let files = files(&root().join("web"), &["js", "css"]);
    assert!(!files.is_empty());
    let bytes: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes < BROWSER_BYTES, "{bytes} bytes in {} files", files.len());
}

#[test]
fn every_room_stands_on_the_map_and_the_map_has_no_room_that_is_not_there() {
    let map = Map::read(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let mut built: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    built.sort();
    assert_eq!(map.rooms(), built);
}
