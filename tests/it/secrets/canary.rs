//! Canaries: a secret of its own wherever one may be given, a whole day's work with them, mishaps included, and then a
//! search for each in everything that comes out of the appliance or stays behind in it.

mod dump;
mod needles;
mod session;

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use aegis::vault::{ApplianceKey, SealingKey};
use age::secrecy::SecretString;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use self::{
    dump::dump,
    needles::Needles,
    session::{Session, Transcript, encode},
};
use crate::{appliance::Appliance, external::Stranger};

const EMAIL: &str = "jo@acme.example";
/// Everything that a library could say, too.
const TRACE: &str = "trace,sqlx=trace,refinery_core=trace,apalis_core=trace";

/// What may be where: a set-up token is printed into the log, because that is how the first owner gets it, and stands
/// in the field of the page that its link opens; what somebody types where the address belongs stands in that field of
/// the page that is shown again; and an API token is shown once, in the answer to the request that makes it. Nothing else
/// is allowed anywhere.
fn allowed(found: &str) -> bool {
    let set_up = found.starts_with("set-up token") || found.starts_with("wrong set-up token");
    let in_its_field = found.contains("in the answer to GET /setup") || found.contains("in the answer to POST /setup");
    let shown_once = found.contains("in the answer to POST /account/tokens: ")
        || found.contains("in the answer to POST /api/account/tokens: ");
    (found.starts_with("API token") && shown_once)
        || (found.starts_with("set-up token (plain) in the server's log") || set_up && in_its_field)
        || found.starts_with("password typed as the address") && found.contains("in the answer to POST /sign-in")
}

/// A secret that looks as people's do, with what encoders trip over, and is found wherever it went.
fn canary(label: &str, needles: &mut Needles) -> String {
    let secret = format!("c4n/\"{}+&=", hex::encode(rand::random::<[u8; 10]>()));
    needles.add(label, &secret);
    secret
}

/// The same without signs, to stand in addresses and names as it is.
fn plain_canary(label: &str, needles: &mut Needles) -> String {
    let secret = format!("c4nary{}", hex::encode(rand::random::<[u8; 10]>()));
    needles.add(label, &secret);
    secret
}

fn keep(seen: &mut Transcript, what: &str, output: &Output) {
    seen.keep(format!("standard output of {what}"), output.stdout.clone());
    seen.keep(format!("standard error of {what}"), output.stderr.clone());
}

fn assert_nothing_found(found: BTreeSet<String>) {
    let found: Vec<_> = found.into_iter().filter(|found| !allowed(found)).collect();
    assert!(found.is_empty(), "{} secrets leaked:\n{}", found.len(), found.join("\n"));
}

/// The session's token, what the browser is known by and what its forms are bound to, as the browser keeps them.
fn add_cookies(needles: &mut Needles, session: &Session) {
    for (name, value) in session.cookies.iter().filter(|(name, value)| *name != "theme" && !value.is_empty()) {
        needles.add(&format!("cookie {name}"), value);
    }
    assert!(session.cookies.contains_key("aegis_session"), "{:?}", session.cookies.keys());
}

async fn superuser(aegis: &Appliance) -> PgConnection {
    let postmaster = fs::read_to_string(aegis.data_dir().join("postgres/cluster/postmaster.pid")).unwrap();
    let socket_dir = postmaster.lines().nth(4).unwrap();
    let options =
        PgConnectOptions::new_without_pgpass().socket(socket_dir).port(5432).username("aegis").database("aegis");
    options.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_in_logs_errors_pages_the_audit_log_the_database_or_its_files() {
    let mut needles = Needles::new();
    let needles_ = &mut needles;
    let mut seen = Transcript::default();
    let home = tempfile::Builder::new().prefix("aegis-it-").tempdir().unwrap();
    let passphrase = canary("passphrase", needles_);
    let passphrase_file = home.path().join("passphrase");
    fs::write(&passphrase_file, &passphrase).unwrap();
    let data_dir = home.path().join("data");
    let settings = format!(
        "[vault]\npassphrase = {{ file = {passphrase_file:?} }}\n[log]\nlevel = \"{TRACE}\"\nformat = \"json\"\n[models]\nchain = []\n"
    );
    let mut aegis = Appliance::at(home, data_dir, &settings);
    aegis.serve();

    let mut owner = Session::new(&aegis.url());
    let owner_password = set_up(&aegis, &mut owner, needles_, &mut seen);
    add_cookies(needles_, &owner);
    let owner_password = change_password(&mut owner, needles_, &mut seen, &owner_password);
    add_cookies(needles_, &owner);
    make_tokens(&aegis, &mut owner, needles_, &mut seen);
    sign_in_wrong_and_right(&aegis, needles_, &mut seen, &owner_password);
    set_secrets(&aegis, &mut owner, needles_, &mut seen);
    lose_ones_way(&mut owner, needles_, &mut seen);
    run_commands(&aegis, needles_, &mut seen);

    // The database goes away in the middle of it, then the appliance itself.
    let mut connection = superuser(&aegis).await;
    let sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL";
    sqlx::raw_sql(sessions).execute(&mut connection).await.unwrap();
    owner.get(&mut seen, "/settings/secrets");
    seen.keep("the server's log", aegis.log());
    aegis.kill();
    aegis.serve();
    let mut again = Session::new(&aegis.url());
    again.form(&mut seen, "/sign-in", "/sign-in", &[("email", EMAIL), ("password", &owner_password)]);
    add_cookies(needles_, &again);
    for page in [
        "/",
        "/chat",
        "/knowledge",
        "/settings/secrets",
        "/api/secrets",
        "/account",
        "/account/sessions",
        "/account/tokens",
        "/api/tokens",
        "/sign-in",
        "/setup",
        "/metrics",
        "/readyz",
    ] {
        again.get(&mut seen, page);
    }

    let mut connection = superuser(&aegis).await;
    add_keys(&aegis, needles_, &mut connection, passphrase).await;
    let tables = dump(&mut connection).await;
    connection.close().await.unwrap();
    seen.keep("the server's log", aegis.log());
    aegis.stop();

    assert!(
        seen.0
            .iter()
            .any(|(place, log)| place.contains("log") && String::from_utf8_lossy(log).contains("\"level\":\"TRACE\""))
    );
    let rows: usize = tables.iter().map(|(_, rows)| rows.len()).sum();
    assert!(tables.iter().any(|(table, rows)| table.ends_with(".audit_entries") && !rows.is_empty()));
    assert!(tables.iter().any(|(table, rows)| table.ends_with(".secrets") && !rows.is_empty()));
    let mut found = BTreeSet::new();
    for (place, what) in seen.0.iter().chain(&tables) {
        found.extend(needles.search(place, what));
    }
    let (in_files, bytes) = needles.search_files(aegis.data_dir(), Path::new(""));
    found.extend(in_files);
    let texts: usize = seen.0.iter().map(|(_, what)| what.len()).sum();
    println!(
        "{} forms of secrets; {} texts of {texts} bytes, {} tables of {rows} bytes, files of {bytes} bytes",
        needles.forms(),
        seen.0.len(),
        tables.len()
    );
    assert!(bytes > 30_000_000, "the cluster's files were read");
    assert!(
        found.iter().any(|found| found.starts_with("set-up token (plain) in the server's log")),
        "what is allowed is found, so that the search works"
    );
    assert_nothing_found(found);
}

/// With a token that is wrong, with an organisation that is refused, and then right.
fn set_up(aegis: &Appliance, owner: &mut Session, needles: &mut Needles, seen: &mut Transcript) -> String {
    let log = aegis.log();
    let (_, rest) = log.split_once("/setup?token=").expect("the log shows the set-up token");
    let token: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    needles.add("set-up token", &token);
    let wrong = plain_canary("wrong set-up token", needles);
    let password = canary("owner's password", needles);
    let refused = canary("password of a set-up that was refused", needles);
    let mut complete = |token: &str, slug: &str, password: &str| {
        let fields = [
            ("token", token),
            ("organisation", "Acme Ltd"),
            ("slug", slug),
            ("name", "Jo"),
            ("email", EMAIL),
            ("password", password),
        ];
        owner.form(seen, &format!("/setup?token={token}"), "/setup", &fields).status
    };
    assert_eq!(complete(&wrong, "acme", &refused), 403);
    assert_eq!(complete(&token, "No Slug", &refused), 400);
    assert_eq!(complete(&token, "acme", &password), 303);
    password
}

fn sign_in_wrong_and_right(aegis: &Appliance, needles: &mut Needles, seen: &mut Transcript, right: &str) {
    let mut visitor = Session::new(&aegis.url());
    let wrong = canary("wrong password", needles);
    let misplaced = canary("password typed as the address", needles);
    let in_json = canary("password in JSON", needles);
    let stolen = plain_canary("session token of nobody", needles);
    let mut sign_in = |email: &str, password: &str| {
        visitor.form(seen, "/sign-in", "/sign-in", &[("email", email), ("password", password)]).status
    };
    assert_eq!(sign_in(EMAIL, &wrong), 401);
    assert_eq!(sign_in("nobody@acme.example", &wrong), 401);
    assert_eq!(sign_in(&misplaced, &wrong), 400);
    assert_eq!(sign_in(EMAIL, right), 303);
    add_cookies(needles, &visitor);
    visitor.form(seen, "/chat", "/sign-out", &[]);

    let mut program = Session::new(&aegis.url());
    for body in [
        serde_json::json!({ "email": EMAIL, "password": in_json }).to_string(),
        format!("{{\"password\": \"{in_json}"),
        format!("password={in_json}"),
    ] {
        program.json(seen, "POST", "/sign-in", &body);
        program.request(seen, "POST", "/sign-in", "Content-Type: application/x-www-form-urlencoded\r\n", &body);
    }
    program.cookies.insert("aegis_session".to_owned(), stolen.clone());
    assert_eq!(program.get(seen, "/api/session").status, 401);
    program.request(seen, "GET", "/api/session", &format!("Authorization: Bearer {stolen}\r\n"), "");
}

/// With a wrong one, to one that is too common, and then right: the session gets a new token.
fn change_password(owner: &mut Session, needles: &mut Needles, seen: &mut Transcript, old: &str) -> String {
    let (wrong, new) = (canary("wrong current password", needles), canary("new password", needles));
    let mut change = |current: &str, new: &str| {
        owner.form(seen, "/account", "/account/password", &[("current", current), ("new", new)]).status
    };
    assert_eq!(change(&wrong, &new), 403);
    assert_eq!(change(old, "short"), 400);
    assert_eq!(change(old, &new), 303);
    new
}

/// Made by form and by the API, used, presented altered and in wrong places, revoked.
fn make_tokens(aegis: &Appliance, owner: &mut Session, needles: &mut Needles, seen: &mut Transcript) {
    let fields = [("name", "by form"), ("scope", "secrets:manage"), ("scope", "chat:read"), ("days", "30")];
    let page = owner.form(seen, "/account/tokens", "/account/tokens", &fields);
    let made = r#"{"name":"by the API","scopes":["secrets:manage"],"expires_in_days":30}"#;
    let answer = owner.json(seen, "POST", "/api/account/tokens", made);
    for body in [page.body, answer.body] {
        let mut texts = body.match_indices("aegis_").map(|(at, prefix)| {
            let letters = body[at + prefix.len()..].chars();
            letters.take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect::<String>()
        });
        let secret = texts.find(|text| text.len() == 43).unwrap_or_else(|| panic!("no token in {body}"));
        needles.add("API token", &secret);
        let altered = format!("{}{}", if secret.starts_with('x') { 'y' } else { 'x' }, &secret[1..]);
        needles.add("altered API token", &altered);
        let mut program = Session::new(&aegis.url());
        let mut come = |headers: &str, path: &str| program.request(seen, "GET", path, headers, "").status;
        assert_eq!(come(&format!("Authorization: Bearer aegis_{secret}\r\n"), "/api/secrets"), 200);
        assert_eq!(come(&format!("Authorization: Bearer aegis_{altered}\r\n"), "/api/secrets"), 401);
        assert_eq!(come(&format!("Authorization: Basic aegis_{secret}\r\n"), "/api/secrets"), 401);
        assert_eq!(come(&format!("Cookie: aegis_session=aegis_{secret}\r\n"), "/api/secrets"), 401);
        come("", &format!("/api/secrets?access_token=aegis_{secret}"));
    }
    forget_addresses(seen);
}

/// The transcript names the address itself, secret and all; what was answered is what counts.
fn forget_addresses(seen: &mut Transcript) {
    for (place, _) in &mut seen.0 {
        if let Some(at) = place.find("c4n").or_else(|| place.find("aegis_")) {
            place.truncate(at);
        }
    }
}

/// By form, API and command line; replaced, deleted, refused, in bodies that are no JSON.
fn set_secrets(aegis: &Appliance, owner: &mut Session, needles: &mut Needles, seen: &mut Transcript) {
    for name in ["by.form", "by.form", "to.delete"] {
        let value = canary(&format!("secret {name}"), needles);
        let set = owner.form(seen, "/settings/secrets", "/settings/secrets", &[("name", name), ("value", &value)]);
        assert_eq!(set.status, 303, "{}", set.body);
    }
    let misplaced = canary("secret typed as the name", needles);
    let refused =
        owner.form(seen, "/settings/secrets", "/settings/secrets", &[("name", &misplaced), ("value", &misplaced)]);
    assert_eq!(refused.status, 400);
    assert_eq!(owner.form(seen, "/settings/secrets", "/settings/secrets/to.delete/delete", &[]).status, 303);

    let by_api = canary("secret by the API", needles);
    let quoted = serde_json::to_string(&by_api).unwrap();
    let set = owner.json(seen, "POST", "/api/secrets", &format!("{{\"name\":\"by.api\",\"value\":{quoted}}}"));
    assert_eq!(set.status, 201, "{}", set.body);
    for body in [
        quoted.clone(),
        format!("[{quoted}]"),
        format!("{{\"name\":{quoted},\"value\":{quoted}}}"),
        format!("{{\"name\":\"a\",\"value\":{{{quoted}:{quoted}}}}}"),
        format!("{{\"name\":\"a\",\"value\":{}", quoted.trim_end_matches('"')),
        format!("{{{quoted}:1}}"),
        by_api.clone(),
    ] {
        let refused = owner.json(seen, "POST", "/api/secrets", &body);
        assert!((400..500).contains(&refused.status), "{body}: {} {}", refused.status, refused.body);
    }
    let by_command = canary("secret by the command line", needles);
    for (name, right) in [("by.command", true), ("Not a name", false)] {
        let output = aegis.run_with_input(&["secret", "set", name, "--tenant", "acme"], by_command.as_bytes());
        assert_eq!(output.status.success(), right);
        keep(seen, "aegis secret set", &output);
    }
    let output = aegis.run_with_input(&["secret", "set", "by.command", "--tenant", "nobody"], by_command.as_bytes());
    keep(seen, "aegis secret set", &output);
}

/// Secrets in addresses, where they do not belong.
fn lose_ones_way(owner: &mut Session, needles: &mut Needles, seen: &mut Transcript) {
    let lost = plain_canary("secret in an address", needles);
    let signs = canary("secret in an address, with signs", needles);
    for secret in [lost, encode(&signs)] {
        for path in ["/nowhere/", "/knowledge/", "/chat/", "/assets/x/", "/api/knowledge/passages/", "/nowhere?token="]
        {
            let answer = owner.get(seen, &format!("{path}{secret}"));
            assert!(answer.status >= 400, "{path} {}", answer.status);
        }
        owner.get(seen, &format!("/api/knowledge/search?q=x&limit={secret}"));
        owner.json(seen, "DELETE", &format!("/api/secrets/{secret}"), "");
        owner.json(seen, "DELETE", &format!("/api/knowledge/documents/{secret}"), "");
        owner.json(seen, "PUT", &format!("/api/secrets/{secret}"), "");
        owner.json(seen, "POST", &format!("/api/chat/runs/{secret}/cancel"), "{}");
    }
    forget_addresses(seen);
}

fn run_commands(aegis: &Appliance, needles: &mut Needles, seen: &mut Transcript) {
    for (tenant, label) in [("acme", "password of a new person"), ("nobody", "password of a person who was refused")] {
        let password = canary(label, needles);
        let arguments =
            ["user", "create", "ada@acme.example", "--tenant", tenant, "--role", "member", "--password-stdin"];
        keep(seen, "aegis user create", &aegis.run_with_input(&arguments, password.as_bytes()));
    }
    for arguments in [
        &["doctor"][..],
        &["config", "show"],
        &["config", "check"],
        &["key", "status"],
        &["key", "rotate", "--tenant", "acme"],
        &["key", "rotate", "--appliance"],
        &["key", "protect"],
        &["secret", "list", "--tenant", "acme"],
        &["secret", "delete", "by.command", "--tenant", "acme"],
        &["audit", "verify", "--tenant", "acme"],
        &["tenant", "list"],
        &["permissions", "--routes"],
    ] {
        for json in [&[][..], &["--json"]] {
            let output = aegis.run(&[json, arguments].concat());
            keep(seen, &format!("aegis {arguments:?}"), &output);
        }
    }
    // Configurations with secrets in them, right and wrong.
    let (written, number) = (plain_canary("secret in a configuration", needles), "the value is a list");
    for (text, right) in [
        (format!("[vault]\npassphrase = \"{written}\"\n"), true),
        (format!("[database]\nmode = \"external\"\nurl = \"postgres://aegis:{written}@db/aegis\"\n"), true),
        (format!("[models.ollama]\nurl = \"http://user:{written}@127.0.0.1:11434\"\n"), false),
        (format!("[vault]\npassphrase = [\"{written}\"] # {number}\n"), false),
        (format!("[vault]\npassphrase = {{ file = \"/x\", {written} = 1 }}\n"), false),
        (format!("[vault]\npassphrase = {written}\n"), false),
        (format!("[vault]\npasphrase = \"{written}\"\n"), false),
        (format!("[database]\nurl = \"postgres://aegis:{written}@db/aegis\"\n"), false),
    ] {
        let file = aegis.file("other.toml", text.as_bytes());
        for what in ["show", "check"] {
            for json in [&[][..], &["--json"]] {
                let mut command = std::process::Command::new(crate::appliance::AEGIS);
                let output = command.args(["--config", &file, "config", what]).args(json).output().unwrap();
                assert_eq!(output.status.success(), right, "{text}: {}", String::from_utf8_lossy(&output.stderr));
                keep(seen, &format!("aegis config {what}"), &output);
            }
        }
    }
}

/// The keys themselves, which nobody has given: opened here as only the appliance can.
async fn add_keys(aegis: &Appliance, needles: &mut Needles, connection: &mut PgConnection, passphrase: String) {
    let locked = fs::read(aegis.data_dir().join("keys/appliance.key")).unwrap();
    let identity = age::scrypt::Identity::new(SecretString::from(passphrase));
    let keys = age::decrypt(&identity, &locked).expect("the stock tool opens the key file");
    let keys: toml::Table = toml::from_str(&String::from_utf8(keys).unwrap()).unwrap();
    needles.add("root key", keys["root"].as_str().unwrap());
    let sealing = keys["sealing"][0]["identity"].as_str().unwrap();
    needles.add("sealing key", sealing);
    let key = SealingKey::parse(sealing, chrono::DateTime::UNIX_EPOCH).unwrap();
    let schema: String =
        sqlx::query_scalar("SELECT 'tenant_' || id FROM control.tenants").fetch_one(&mut *connection).await.unwrap();
    let sealed: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT sealed FROM {schema}.secret_key")))
        .fetch_one(connection)
        .await
        .unwrap();
    let envelope: Value = serde_json::from_str(key.open(&sealed).unwrap().reveal()).unwrap();
    let tenant = envelope["value"].as_str().unwrap();
    assert!(tenant.starts_with("AGE-SECRET-KEY-1"));
    needles.add("tenant's key", tenant);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_an_external_database_and_those_derived_for_its_roles_stay_secret() {
    let mut needles = Needles::new();
    let mut seen = Transcript::default();
    let stranger = Stranger::start().await;
    stranger.rent("aegis_one").await;
    let password = plain_canary("database's password", &mut needles);
    let wrong = plain_canary("wrong database's password", &mut needles);
    let mut superuser = stranger.session("aegis_one").await.unwrap();
    let change = format!("ALTER ROLE aegis_one_owner PASSWORD '{password}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&mut superuser).await.unwrap();
    let aegis =
        Appliance::new("[database]\nmode = \"external\"\nurl = { env = \"CANARY_URL\" }\n[models]\nchain = []\n");
    let mut run = |password: &str, arguments: &[&str]| {
        let url = stranger.url("aegis_one_owner", password, "aegis_one");
        let mut command = aegis.command(arguments);
        let output = command.env("CANARY_URL", url).env("AEGIS_LOG__LEVEL", TRACE).output().unwrap();
        keep(&mut seen, &format!("aegis {arguments:?}"), &output);
        output
    };
    let created = run(&password, &["tenant", "create", "acme", "--name", "Acme Ltd"]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    assert!(String::from_utf8_lossy(&created.stderr).contains("TRACE"));
    for arguments in [&["config", "show"][..], &["--json", "config", "show"], &["doctor"], &["key", "status"]] {
        run(&password, arguments);
    }
    assert!(!run(&wrong, &["tenant", "list"]).status.success());

    let keys = fs::read_to_string(aegis.data_dir().join("keys/appliance.key")).unwrap();
    let keys: toml::Table = toml::from_str(&keys).unwrap();
    let root = keys["root"].as_str().unwrap();
    let key = ApplianceKey::from_bytes(hex::decode(root).unwrap().try_into().unwrap());
    let tenant: String =
        sqlx::query_scalar("SELECT 'tenant_' || id FROM control.tenants").fetch_one(&mut superuser).await.unwrap();
    needles.add("root key", root);
    needles.add("sealing key", keys["sealing"][0]["identity"].as_str().unwrap());
    for role in ["aegis_one_app", &tenant] {
        needles.add(&format!("password of {role}"), &key.derive("postgres role", &format!("aegis_one/{role}")));
    }
    let mut found = BTreeSet::new();
    for (place, what) in seen.0.iter().chain(&dump(&mut superuser).await) {
        found.extend(needles.search(place, what));
    }
    superuser.close().await.unwrap();
    // Without a passphrase the key file is the one place for the keys.
    found.extend(needles.search_files(aegis.data_dir(), &aegis.data_dir().join("keys/appliance.key")).0);
    assert_nothing_found(found);
}
