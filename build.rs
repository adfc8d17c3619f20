//! Checks that `packaging/fetch` has filled `.pack`, and tells the sources where it lies.
//!
//! `AEGIS_PACK`: the pack's absolute path, for `include_bytes!(concat!(env!("AEGIS_PACK"), "/minilm.onnx"))`.
//! `AEGIS_PACK_POSTGRES_VERSION` and `AEGIS_PACK_POSTGRES_SHA256`: of the archive `postgres.tar.gz`. Cargo passes these
//! names to what it runs, too, which is why they begin like no setting.

use std::{env, fs, path::Path, process};

/// What the sources embed or name; the licence texts and the chat model travel beside the binary.
const NEEDED: [&str; 7] = [
    "SHA256SUMS",
    "postgres.tar.gz",
    "postgres.sha256",
    "minilm.onnx",
    "tokenizer.json",
    "fonts/inter-latin.woff2",
    "leaked-passwords",
];

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    let pack = Path::new(&root).join(".pack");
    println!("cargo:rerun-if-changed=build.rs");
    // refinery reads this directory in a macro, which does not notice a new file by itself.
    println!("cargo:rerun-if-changed=migrations");
    for file in NEEDED.iter().copied().chain(["made-by", "postgres.version"]) {
        println!("cargo:rerun-if-changed={}", pack.join(file).display());
    }

    if let Some(missing) = NEEDED.iter().find(|file| !pack.join(file).is_file()) {
        refuse(&format!("{} is missing", pack.join(missing).display()));
    }
    let made_for = read(&pack, "made-by").split(' ').next().unwrap_or_default().to_owned();
    let target = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if made_for != target {
        refuse(&format!("the pack is for {made_for}, this build is for {target}"));
    }

    println!("cargo:rustc-env=AEGIS_PACK={}", pack.display());
    println!("cargo:rustc-env=AEGIS_PACK_POSTGRES_VERSION={}", read(&pack, "postgres.version"));
    println!("cargo:rustc-env=AEGIS_PACK_POSTGRES_SHA256={}", read(&pack, "postgres.sha256"));
}

fn read(pack: &Path, file: &str) -> String {
    match fs::read_to_string(pack.join(file)) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => refuse(&format!("{}: {error}", pack.join(file).display())),
    }
}

fn refuse(why: &str) -> ! {
    println!("cargo:error={why}");
    println!(
        "cargo:error=run packaging/fetch, then build again: it fetches PostgreSQL, the embedding model, the list of leaked passwords and the font"
    );
    process::exit(1);
}
