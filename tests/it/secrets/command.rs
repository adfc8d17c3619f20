//! `aegis secret` and `aegis key`, on the real binary: with a server, without one, and killed in between.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use crate::appliance::Appliance;

const WORDS: &str = "five unrelated words";

fn set(aegis: &Appliance, tenant: &str, name: &str, value: &str) {
    let output = aegis.run_with_input(&["secret", "set", name, "--tenant", tenant], value.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn status(aegis: &Appliance) -> Value {
    aegis.json(&["key", "status"])
}

fn key_file(aegis: &Appliance) -> Vec<u8> {
    fs::read(aegis.data_dir().join("keys/appliance.key")).unwrap()
}

/// What a command says on standard error when it is refused.
fn refused(aegis: &Appliance, arguments: &[&str], input: &[u8]) -> String {
    let output = aegis.run_with_input(arguments, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    said
}

#[test]
fn a_secret_is_set_from_standard_input_listed_without_its_value_and_deleted() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    set(&aegis, "acme", "telegram.bot-token", "123:canary\n");
    let listed = aegis.json(&["secret", "list", "--tenant", "acme"]);
    assert_eq!(listed[0]["name"], "telegram.bot-token");
    assert_eq!(listed[0]["set_by"], "the operator");
    assert_eq!(listed[0]["last_used_at"], Value::Null);
    assert!(!listed.to_string().contains("canary"));

    let said = refused(&aegis, &["secret", "set", "Not a name", "--tenant", "acme"], b"x");
    assert!(said.contains("small letters") && !said.contains("Not a name"), "{said}");
    assert!(refused(&aegis, &["secret", "set", "empty", "--tenant", "acme"], b"\n").contains("held no value"));
    assert!(refused(&aegis, &["secret", "set", "large", "--tenant", "acme"], &vec![b'x'; 65_537]).contains("64 KiB"));
    assert!(refused(&aegis, &["secret", "set", "binary", "--tenant", "acme"], b"\xff\xfe").contains("UTF-8"));
    assert!(refused(&aegis, &["secret", "delete", "nothing", "--tenant", "acme"], b"").contains("does not exist"));

    aegis.json(&["secret", "delete", "telegram.bot-token", "--tenant", "acme"]);
    assert_eq!(aegis.json(&["secret", "list", "--tenant", "acme"]), serde_json::json!([]));
}

#[test]
fn both_keys_are_rotated_at_the_command_line_with_a_server_and_without_one() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    set(&aegis, "acme", "one", "value");
    let first = status(&aegis);
    assert_eq!((&first["protection"], &first["tenants"]), (&"file".into(), &1.into()), "{first}");
    let tenant = aegis.json(&["key", "rotate", "--tenant", "acme"]);
    assert_eq!(tenant["secrets"], 1);
    let appliance = aegis.json(&["key", "rotate", "--appliance"]);
    assert_eq!((&appliance["resealed"], &appliance["resumed"]), (&1.into(), &false.into()), "{appliance}");
    aegis.stop();

    let second = status(&aegis);
    assert_eq!(second["sealing"]["recipient"], appliance["recipient"]);
    assert_ne!(second["sealing"]["recipient"], first["sealing"]["recipient"]);
    assert_eq!(second["root_fingerprint"], first["root_fingerprint"]);
    let again = aegis.json(&["key", "rotate", "--appliance"]);
    assert_eq!(again["resealed"], 1);
    aegis.json(&["key", "rotate", "--tenant", "acme"]);
    assert_eq!(status(&aegis)["not_resealed"], serde_json::json!([]));
    assert_eq!(aegis.run(&["key", "rotate"]).status.code(), Some(2), "which key has to be said");
}

/// Killed after 0, 4, 8, … milliseconds of a rotation over a dozen tenants, then started again.
#[test]
fn an_appliance_killed_anywhere_in_a_rotation_finishes_it_after_its_next_start() {
    let mut aegis = Appliance::without_models();
    aegis.serve();
    let tenants: Vec<String> = (0..12).map(|n| format!("tenant-{n}")).collect();
    for tenant in &tenants {
        aegis.json(&["tenant", "create", tenant, "--name", tenant]);
        set(&aegis, tenant, "one", "value");
    }
    let mut interrupted = 0;
    for round in 0..6_u64 {
        let mut rotate = aegis.command(&["key", "rotate", "--appliance"]);
        let before = key_file(&aegis);
        let mut rotate =
            rotate.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        // From the moment at which the file has been replaced by the one with both keys.
        while key_file(&aegis) == before && rotate.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_millis(4 * round));
        aegis.kill();
        rotate.wait().unwrap();
        if String::from_utf8(key_file(&aegis)).unwrap().matches("AGE-SECRET-KEY").count() > 1 {
            interrupted += 1;
        }
        aegis.serve();
        let deadline = std::time::Instant::now() + Duration::from_mins(1);
        let done = loop {
            let status = status(&aegis);
            if status["previous"] == serde_json::json!([]) {
                break status;
            }
            assert!(std::time::Instant::now() < deadline, "the start did not finish the rotation: {status}");
            thread::sleep(Duration::from_millis(50));
        };
        assert_eq!((&done["tenants"], &done["not_resealed"]), (&12.into(), &serde_json::json!([])), "{done}");
        for tenant in &tenants {
            // Encrypting all values again opens them first.
            assert_eq!(aegis.json(&["key", "rotate", "--tenant", tenant])["secrets"], 1, "after round {round}");
        }
    }
    assert!(interrupted > 0, "at least one was killed half way");
}

#[test]
fn under_a_passphrase_nothing_starts_without_it_and_nothing_is_made_anew() {
    let mut aegis = Appliance::without_models();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
    set(&aegis, "acme", "one", "value");
    let short = refused(&aegis, &["key", "protect", "--passphrase-stdin"], b"short\n");
    assert!(short.contains("12 characters"), "{short}");
    let none = refused(&aegis, &["key", "protect"], b"");
    assert!(none.contains("--passphrase-stdin"), "{none}");

    aegis.serve();
    let done = aegis.run_with_input(&["key", "protect", "--passphrase-stdin"], format!("{WORDS}\n").as_bytes());
    assert!(String::from_utf8_lossy(&done.stdout).contains("next start needs this passphrase"), "{done:?}");
    assert_eq!(status(&aegis)["protection"], "passphrase");
    aegis.stop();
    let locked = key_file(&aegis);
    assert!(locked.starts_with(b"age-encryption.org/v1"));

    for arguments in [&["serve"][..], &["secret", "list", "--tenant", "acme"]] {
        let said = refused(&aegis, arguments, b"");
        assert!(said.contains("protected by a passphrase") && said.contains("[vault] passphrase"), "{said}");
    }
    let file = aegis.file("passphrase", b"some other words here\n");
    let start = |file: &str| {
        let mut command = aegis.command(&["key", "status", "--json"]);
        command.env("AEGIS_VAULT__PASSPHRASE", format!("{{ file = {file:?} }}")).output().unwrap()
    };
    let wrong = start(&file);
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && said.contains("does not open"), "{said}");
    assert!(!said.contains("some other words"), "{said}");
    let missing = start("/nowhere/passphrase");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/passphrase"), "{missing:?}");
    assert_eq!(key_file(&aegis), locked, "none of these has changed anything");

    fs::write(&file, format!("{WORDS}\n")).unwrap();
    let right = start(&file);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    let found: Value = serde_json::from_slice(&right.stdout).unwrap();
    assert_eq!((&found["protection"], &found["tenants"]), (&"passphrase".into(), &1.into()), "{found}");

    let mut unprotect = aegis.command(&["key", "unprotect"]);
    let output = unprotect.env("AEGIS_VAULT__PASSPHRASE", format!("{{ file = {file:?} }}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(status(&aegis)["protection"], "file");
    assert_eq!(aegis.json(&["key", "rotate", "--tenant", "acme"])["secrets"], 1, "the secret has survived all of it");
}

#[test]
fn a_new_appliance_takes_up_its_passphrase_at_the_first_start_or_makes_nothing() {
    let home = tempfile::Builder::new().prefix("aegis-it-").tempdir().unwrap();
    let file = home.path().join("passphrase");
    let data_dir = home.path().join("data");
    let settings =
        format!("[vault]\npassphrase = {{ file = {:?} }}\n[models]\nchain = []\n", file.display().to_string());
    let mut aegis = Appliance::at(home, data_dir, &settings);
    let said = refused(&aegis, &["serve"], b"");
    assert!(said.contains("cannot read the secret"), "{said}");
    fs::write(&file, "\n").unwrap();
    assert!(refused(&aegis, &["serve"], b"").contains("is empty"));
    fs::write(&file, "changeme\n").unwrap();
    assert!(refused(&aegis, &["serve"], b"").contains("12 characters"));
    assert!(!aegis.data_dir().join("keys").exists() && !aegis.data_dir().join("postgres").exists());

    fs::write(&file, WORDS).unwrap();
    aegis.serve();
    assert_eq!(status(&aegis)["protection"], "passphrase");
    assert!(key_file(&aegis).starts_with(b"age-encryption.org/v1"));
}
