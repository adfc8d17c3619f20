//! The configuration: what is accepted, what is refused, and whether the refusal helps.

use std::{fs, path::Path};

use aegis::config::{Config, DatabaseMode, Secret};

/// Loads `text` as `aegis.toml`, with `variables`, and gives the problems one a line, without the directory.
fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aegis.toml");
    fs::write(&file, text).unwrap();
    let problems = load(&file, variables).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&format!("{}/", directory.path().display()), "")
}

fn accepted(text: &str, variables: &[(&str, &str)]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aegis.toml");
    fs::write(&file, text).unwrap();
    load(&file, variables).unwrap()
}

fn load(file: &Path, variables: &[(&str, &str)]) -> Result<Config, Vec<aegis::config::Problem>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load_from(Some(file), variables, None)
}

#[test]
fn without_a_file_the_example_is_the_configuration() {
    let config = Config::load_from(None, [], None).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:8480");
    assert_eq!(config.models.chain, ["ollama", "builtin"]);
    assert_eq!(config.database.mode, DatabaseMode::Embedded);
}

#[test]
fn the_whole_example_with_its_comments_removed_is_a_valid_configuration() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml")).unwrap();
    for setting in ["url = ", "bin_dir = ", "file = "] {
        assert!(text.contains(&format!("\n# {setting}")), "{setting} stands in the example, as a comment");
    }
    let with_file = text.replace("\n# file = ", "\nfile = ");
    assert!(accepted(&with_file, &[]).models.builtin.file.is_some());
    let system = text.replace("\n# bin_dir", "\nbin_dir").replace("\"embedded\"", "\"system\"");
    assert!(accepted(&system, &[]).database.bin_dir.is_some());
    let external = text.replace("\n# url = { file", "\nurl = { file").replace("\"embedded\"", "\"external\"");
    assert!(matches!(accepted(&external, &[]).database.url, Some(Secret::File { .. })));
}

#[test]
fn the_file_overrides_the_defaults_and_variables_override_the_file() {
    let text = "[server]\nlisten = \"0.0.0.0:1\"\npublic_url = \"https://a.example\"\n[knowledge]\nworkers = 3\n";
    let config = accepted(
        text,
        &[
            ("AEGIS_SERVER__LISTEN", "[::1]:9000"),
            ("AEGIS_MODELS__CHAIN", "builtin"),
            ("AEGIS_MODELS__BUILTIN__THREADS", "2"),
            ("AEGIS_MODELS__BUILTIN__FILE", "/models/a.gguf"),
            ("AEGIS_MODELS__OLLAMA__MODEL", "8080"),
            ("AEGIS_CONFIG", "/etc/aegis/aegis.toml"),
            ("HOME", "/root"),
        ],
    );
    assert_eq!(config.server.listen, "[::1]:9000");
    assert_eq!(config.server.public_url, "https://a.example");
    assert_eq!(config.knowledge.workers, 3);
    assert_eq!(config.models.chain, ["builtin"]);
    assert_eq!(config.models.builtin.threads, 2);
    assert_eq!(config.models.builtin.file.as_deref(), Some(Path::new("/models/a.gguf")));
    assert_eq!(config.models.ollama.model, "8080", "a text that looks like a number stays a text");
}

#[test]
fn the_command_line_decides_the_data_directory_and_it_becomes_absolute() {
    let variables = [("AEGIS_DATA_DIR".to_owned(), "/elsewhere".to_owned())];
    let config = Config::load_from(None, variables, Some(Path::new("here"))).unwrap();
    assert_eq!(config.data_dir, std::env::current_dir().unwrap().join("here"));
}

#[test]
fn unknown_keys_are_refused_with_their_line_and_what_was_probably_meant() {
    let text = "# a comment\n[server]\nlistn = \"127.0.0.1:1\"\nworkers = 3\n\n[modles]\nchain = []\n[models.olama]\nurl = \"x\"\n\n[nonsense]\nxyzzy = 1\n";
    insta::assert_snapshot!(refused(text, &[]), @r#"
    aegis.toml:3: server.listn: there is no such setting (did you mean server.listen?)
    aegis.toml:4: server.workers: there is no such setting (did you mean knowledge.workers?)
    aegis.toml:6: modles: there is no such section (did you mean models?)
    aegis.toml:8: models.olama: there is no such section (did you mean models.ollama?)
    aegis.toml:11: nonsense: there is no such section
    "#);
}

#[test]
fn wrong_types_and_values_are_refused_all_at_once() {
    let text = r#"
data_dir = 5
knowledge = "large"

[server]
listen = ["127.0.0.1:1"]

[database]
mode = "embeded"
url = 12
control_connections = -1
tenant_connections = "three"

[log]
format = "yaml"

[models]
chain = "ollama"
"#;
    insta::assert_snapshot!(refused(text, &[]), @r#"
    aegis.toml:2: data_dir: a text in quotes is expected, not the number 5
    aegis.toml:3: knowledge: is a section, not a setting: write [knowledge] on a line of its own
    aegis.toml:6: server.listen: a text in quotes is expected, not a list
    aegis.toml:9: database.mode: "embeded" is not among embedded, system, external (did you mean "embedded"?)
    aegis.toml:10: database.url: a text in quotes, { file = "/path" } or { env = "NAME" } is expected
    aegis.toml:11: database.control_connections: a whole number, not negative, is expected, not the number -1
    aegis.toml:12: database.tenant_connections: a whole number, not negative, is expected, not "three"
    aegis.toml:15: log.format: "yaml" is not among auto, text, json
    aegis.toml:18: models.chain: a list of texts, ["…", "…"], is expected, not "ollama"
    "#);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    insta::assert_snapshot!(refused("[database]\nmode = \"external\"\n", &[]), @r#"aegis.toml:2: database.url: is missing, and mode "external" needs it (write url = { file = "/etc/aegis/database-url" })"#);
    insta::assert_snapshot!(refused("[database]\nurl = \"postgres://u:hunter2@h/d\"\n", &[]), @r#"aegis.toml:2: database.url: has a meaning in mode "external" only (set mode = "external", or remove it)"#);
    insta::assert_snapshot!(refused("[database]\nbin_dir = \"/x\"\n", &[]), @r#"aegis.toml:2: database.bin_dir: has a meaning in mode "system" only (set mode = "system", or remove it)"#);
    insta::assert_snapshot!(refused("[models]\nchain = [\"olama\", \"builtin\", \"builtin\", \"gpt\"]\n", &[]), @r#"
    aegis.toml:2: models.chain: there is no target "olama" (did you mean "ollama"?)
    aegis.toml:2: models.chain: names "builtin" twice
    aegis.toml:2: models.chain: there is no target "gpt" (there are: ollama, builtin)
    "#);
    insta::assert_snapshot!(refused("[accounts]\nsession_days = 1\n", &[]), @r#"aegis.toml:2: accounts.session_idle_hours: 72 hours are more than a session may last: session_days = 1"#);
    insta::assert_snapshot!(refused("[database]\ntenant_connections = 9\n", &[]), @r#"aegis.toml:2: database.tenant_connections: 9 is not between 1 and 5"#);
}

#[test]
fn addresses_that_cannot_be_used_are_refused_with_one_that_can() {
    let addresses = ["localhost:8480", ":8480", "8480", "example.org"];
    let refusals = addresses.map(|listen| refused(&format!("[server]\nlisten = \"{listen}\"\n"), &[]));
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    aegis.toml:2: server.listen: "localhost:8480" is not an address with a port (write "127.0.0.1:8480")
    aegis.toml:2: server.listen: ":8480" is not an address with a port (write "0.0.0.0:8480" for all addresses of this machine)
    aegis.toml:2: server.listen: "8480" is not an address with a port (write "127.0.0.1:8480")
    aegis.toml:2: server.listen: "example.org" is not an address with a port (write an address and a port, as "127.0.0.1:8480")
    "#);
    insta::assert_snapshot!(refused("[server]\npublic_url = \"aegis.example.org/x\"\n", &[]), @r#"aegis.toml:2: server.public_url: "aegis.example.org/x" is not an address that people can open (write it as "https://aegis.example.org", without a path)"#);
    insta::assert_snapshot!(refused("[models.ollama]\nurl = \"http://me:hunter2@127.0.0.1\"\n", &[]), @r#"aegis.toml:2: models.ollama.url: "http://•••@127.0.0.1" is not an address of a server (write it as "http://127.0.0.1:11434")"#);
}

#[test]
fn hosts_that_cannot_be_allowed_are_refused_with_what_can() {
    let allow = r#"allow = ["api.example.org", "https://api.example.org/v1", "*", "*.org", "10.0.0.1", "bücher.example", "a.example:http"]"#;
    insta::assert_snapshot!(refused(&format!("[egress]\n{allow}\n"), &[]), @r#"
    aegis.toml:2: egress.allow: "https://api.example.org/v1" is not a host (write "api.example.org")
    aegis.toml:2: egress.allow: "*" would allow everything (name the hosts one by one)
    aegis.toml:2: egress.allow: "*.org" would allow a whole top-level domain (write "*.example.org")
    aegis.toml:2: egress.allow: "10.0.0.1" is a private address, which the allow-list cannot open (a server of your own network is reached by the setting of its provider, such as models.ollama.url)
    aegis.toml:2: egress.allow: "bücher.example" is not ASCII (write the name as the name server knows it: "xn--…")
    aegis.toml:2: egress.allow: "a.example:http" has a port that is none
    "#);
    assert_eq!(accepted("", &[("AEGIS_EGRESS__ALLOW", "a.example, b.example:8443")]).egress.allow.len(), 2);
    assert!(accepted("", &[]).egress.allow.is_empty(), "nothing is allowed unless somebody says so");
}

#[test]
fn a_wrong_variable_is_named() {
    let variables = [
        ("AEGIS_SERVER__LISTEM", "127.0.0.1:1"),
        ("AEGIS_KNOWLEDGE__WORKERS", "many"),
        ("AEGIS_SERVER", "x"),
        ("AEGIS_DATABASE__MODE", "external"),
    ];
    insta::assert_snapshot!(refused("", &variables), @r#"
    variable AEGIS_SERVER__LISTEM: server.listem: there is no such setting (did you mean AEGIS_SERVER__LISTEN?)
    variable AEGIS_SERVER: server: is a section, not a setting
    variable AEGIS_KNOWLEDGE__WORKERS: knowledge.workers: a whole number, not negative, is expected, not "many"
    variable AEGIS_DATABASE__MODE: database.url: is missing, and mode "external" needs it (write url = { file = "/etc/aegis/database-url" })
    "#);
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_the_line() {
    insta::assert_snapshot!(refused("[server]\nlisten = 127.0.0.1:8480\n", &[]), @r#"aegis.toml:2: listen: not TOML: invalid float, expected nothing (a text stands in quotes: listen = "…")"#);
    let missing = Config::load_from(Some(Path::new("/nonexistent/aegis.toml")), [], None).unwrap_err();
    insta::assert_snapshot!(missing[0].to_string(), @r#"/nonexistent/aegis.toml: cannot be read: No such file or directory (os error 2)"#);
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let text = "[database]\nmode = \"external\"\nurl = \"postgres://u:hunter2@h/d\"\n";
    let shown = accepted(text, &[]).to_toml_masked().unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("url = \"•••\""), "{shown}");
    let again: toml::Table = toml::from_str(&shown).unwrap();
    assert_eq!(again["server"]["listen"].as_str(), Some("127.0.0.1:8480"));
}

#[test]
fn providers_of_any_number_are_taken_from_file_and_variables_and_their_secrets_are_masked() {
    let text = "[server]\npublic_url = \"https://aegis.example.org\"\n\
                [oidc.google]\npreset = \"google\"\nclient_id = \"g\"\nclient_secret = \"s3cret\"\n\
                [oidc.company]\nissuer = \"https://id.example.org/realms/x\"\n";
    let variables = [
        ("AEGIS_OIDC__COMPANY__CLIENT_ID", "aegis"),
        ("AEGIS_OIDC__COMPANY__JOIN_TENANT", "acme"),
        ("AEGIS_OIDC__COMPANY__JOIN_DOMAINS", "acme.example,acme.test"),
    ];
    let config = accepted(text, &variables);
    assert_eq!(config.oidc["google"].issuer(), "https://accounts.google.com");
    assert_eq!((config.oidc["google"].label("google"), config.oidc["company"].label("company")), ("Google", "company"));
    assert_eq!(config.oidc["company"].join_domains, ["acme.example", "acme.test"]);
    assert!(!config.oidc["company"].link_verified_email, "nobody is let in by an address unless it is asked for");
    assert!(!config.to_toml_masked().unwrap().contains("s3cret"));
    assert!(accepted("", &[]).oidc.is_empty());
}

#[test]
fn a_provider_that_cannot_work_or_is_not_safe_is_refused_with_what_is_missing() {
    let with = |settings: &str| {
        refused(&format!("[server]\npublic_url = \"https://a.example\"\n[oidc.company]\n{settings}\n"), &[])
    };
    let good = "issuer = \"https://id.example.org\"\nclient_id = \"aegis\"\n";
    for (settings, told) in [
        ("client_id = \"aegis\"".to_owned(), "aegis.toml:4: oidc.company.issuer: is missing"),
        ("issuer = \"https://id.example.org\"".to_owned(), "oidc.company.client_id: is missing"),
        ("issuer = \"http://id.example.org\"\nclient_id = \"a\"".to_owned(), "http is for this machine alone"),
        ("preset = \"google\"\nclient_id = \"a\"".to_owned(), "oidc.company.client_secret: is missing"),
        ("preset = \"gogle\"".to_owned(), "did you mean \"google\"?"),
        (format!("{good}clientid = \"x\""), "did you mean oidc.company.client_id?"),
        (format!("{good}join_tenant = \"acme\""), "belong together"),
        (
            format!("{good}join_tenant = \"a\"\njoin_domains = [\"b\"]\njoin_role = \"owner\""),
            "nobody becomes an owner",
        ),
        (format!("{good}endpoints = [\"http://keys.example.org\"]"), "oidc.company.endpoints"),
        (format!("{good}client_secret = 12345"), "{ env = \"NAME\" }"),
    ] {
        let problems = with(&settings);
        assert!(problems.contains(told), "{settings}: {problems}");
    }
    assert!(!with(&format!("{good}client_secret = 12345")).contains("12345"), "a secret is not repeated");
    let nowhere = refused(&format!("[oidc.company]\n{good}"), &[]);
    assert!(nowhere.contains("server.public_url: is needed by [oidc]"), "{nowhere}");
    assert!(refused("[oidc.\"a b\"]\nclient_id = \"x\"\n", &[]).contains("there is no such section"));
}

#[test]
fn the_examples_of_providers_are_valid_and_their_models_prices_and_kinds_are_read() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml")).unwrap();
    let (_, after) = text.split_once("\n# [providers.groq]").expect("it stands there");
    let (providers, _) = after.split_once("\n\n[").expect("it ends");
    let providers: Vec<&str> = providers.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let config = accepted(&format!("[providers.groq]{}", providers.join("\n")), &[]);
    let names: Vec<&str> = config.providers.keys().map(String::as_str).collect();
    assert_eq!(names, ["anthropic", "gemini", "groq", "openai", "second", "workshop"]);
    let model = config.providers["openai"].model("gpt-4.1-mini");
    assert_eq!((model.context, model.input_price, model.output_price), (Some(1_047_576), Some(0.40), Some(1.60)));
    assert_eq!(config.providers["gemini"].url(), "https://generativelanguage.googleapis.com/v1beta");
    assert_eq!(config.providers["workshop"].local, Some(true));
}

#[test]
fn a_provider_that_cannot_be_used_is_refused_with_what_to_write() {
    let of = |settings: &str| refused(&format!("[providers.x]\n{settings}\n"), &[]);
    for (settings, expected) in [
        ("url = \"http://a.example\"", "providers.x.kind: is missing (write kind = \"openai\""),
        ("kind = \"opnai\"", "\"opnai\" is not among openai, anthropic, gemini, ollama (did you mean \"openai\"?)"),
        ("kind = \"openai\"", "providers.x.key: is missing: the vendor wants one"),
        ("kind = \"ollama\"", "providers.x.url: is missing"),
        ("kind = \"openai\"\nurl = \"https://user:s3cret@a.example\"", "is not an address of a server"),
        ("kind = \"openai\"\nurl = \"https://a.example/v1?key=1\"", "is not an address of a server"),
        ("kind = \"openai\"\nkey = \"k\"\nkeys = \"x\"", "did you mean providers.x.key?"),
        ("kind = \"openai\"\nkey = \"k\"\nidle_timeout_seconds = 0", "0 is not between 1 and 3600"),
        ("kind = \"openai\"\nkey = \"k\"\nmodels = { m = { contxt = 5 } }", "there is no \"contxt\" in it"),
        ("kind = \"openai\"\nkey = \"k\"\nmodels = { m = { context = 5 } }", "m: context = 5 is not between"),
        ("kind = \"openai\"\nkey = \"k\"\nmodels = { m = { input_price = 1.0 } }", "belong together"),
        ("kind = \"openai\"\nkey = \"k\"\nmodels = { m = { input_price = -1.0, output_price = 1.0 } }", "is no price"),
    ] {
        let problems = of(settings);
        assert!(problems.contains(expected) && !problems.contains("s3cret"), "{settings}: {problems}");
    }
    let taken = refused("[providers.ollama]\nkind = \"openai\"\nkey = \"k\"\n", &[]);
    assert!(taken.contains("has a meaning in models.chain already"), "{taken}");
    let wrong_key = refused("[providers.x]\nkind = \"openai\"\nkey = 12345678\n", &[]);
    assert!(wrong_key.contains("providers.x.key") && !wrong_key.contains("12345678"), "{wrong_key}");
}

#[test]
fn a_route_or_a_folder_of_the_knowledge_base_that_cannot_be_used_is_refused() {
    let told = refused("[knowledge]\nrerank_route = \"defalt\"\nwatch_folder = \"files\"\nwatch_seconds = 0\n", &[]);
    for part in [
        "there is no route \"defalt\"",
        "did you mean \"default\"?",
        "knowledge.watch_folder",
        "begin it with /",
        "knowledge.watch_seconds",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let config = accepted("[knowledge]\nrerank_route = \"judge\"\n[models.routes.judge]\nchain = [\"ollama\"]\n", &[]);
    assert_eq!(config.knowledge.rerank_route, "judge");
}

#[test]
fn an_embedding_model_that_there_is_not_is_refused_with_what_was_meant() {
    let with = |model: &str, others: &str| {
        format!(
            "[embedding]\nmodel = \"{model}\"\nothers = [{others}]\n[providers.cloud]\nkind = \"openai\"\nkey = \"k\"\n\
                 [providers.claude]\nkind = \"anthropic\"\nkey = \"k\"\n"
        )
    };
    for (model, expected) in [
        ("builtn", "there is no embedding model \"builtn\" (did you mean \"builtin\"?)"),
        ("builtin@128", "the one in this binary is \"builtin\", with vectors of 384 numbers"),
        ("builtin/bge", "the one in this binary is \"builtin\", with vectors of 384 numbers"),
        ("ollama", "names no model (write \"ollama/nomic-embed-text\")"),
        ("ollama/nomic-embed-text@256", "which Ollama does not make (write \"ollama/nomic-embed-text\")"),
        ("nomic-embed-text", "(write \"builtin\", \"ollama/nomic-embed-text\" or \"<provider>/nomic-embed-text\")"),
        ("cloud", "names no model (write \"cloud/text-embedding-3-small\")"),
        ("clud/small", "(did you mean \"cloud/small\"?)"),
        ("mistral/embed", "(write a section [providers.mistral])"),
        ("claude/embed", "is of Anthropic, which has no embedding models"),
        ("cloud/large@4001", "asks for vectors of 4001 numbers (between 1 and 4000 can be searched)"),
        ("cloud/large@0", "asks for vectors of 0 numbers"),
    ] {
        let problems = refused(&with(model, ""), &[]);
        assert!(
            problems.starts_with("aegis.toml:2: embedding.model: ") && problems.contains(expected),
            "{model}: {problems}"
        );
    }
    let twice = refused(&with("builtin", "\"cloud/small\", \"builtin\""), &[]);
    assert_eq!(twice, "aegis.toml:3: embedding.others: names \"builtin\", which stands there already");
    let config = accepted(&with("cloud/text-embedding-3-large@1024", "\"builtin\", \"ollama/nomic-embed-text\""), &[]);
    assert!(config.embedding.asks_ollama() && config.embedding.asks_builtin());
    let long = "[knowledge]\npassage_tokens = 1000\n[embedding]\nmodel = \"ollama/x\"\nothers = [\"builtin\"]\n";
    assert!(refused(long, &[]).contains("1000 is not between 32 and 256"), "the shortest reader decides");
}

#[test]
fn routes_that_lead_nowhere_are_refused_with_their_place() {
    let text = "[models.routes.quick]\nchain = [\"olama\", \"groq/llama\", \"cloud\", \"cloud/\", \"builtin/x\"]\n\
                [models.routes.empty]\ncontext = [\"ollama\"]\n[models.routes.default]\nchain = [\"ollama\"]\nretries = 99\n\
                [models.routes.typo]\nchian = [\"ollama\"]\n[providers.cloud]\nkind = \"openai\"\n";
    let all = refused(text, &[]);
    let expected =
        "aegis.toml:9: models.routes.typo.chian: there is no such setting (did you mean models.routes.typo.chain?)";
    assert!(all.contains(expected), "{expected} is not in\n{all}");
    let all = refused(&text.replace("chian", "chain"), &[]);
    for expected in [
        "aegis.toml:2: models.routes.quick.chain: there is no target \"olama\" (did you mean \"ollama\"?)",
        "aegis.toml:2: models.routes.quick.chain: \"groq/llama\" is of a provider that there is not (write a section [providers.groq])",
        "aegis.toml:2: models.routes.quick.chain: \"cloud\" is a provider, and a target is one of its models (write \"cloud/<model>\")",
        "aegis.toml:2: models.routes.quick.chain: \"cloud/\" names no model",
        "aegis.toml:2: models.routes.quick.chain: there is no target \"builtin/x\"",
        "aegis.toml:4: models.routes.empty.chain: names no target",
        "aegis.toml:6: models.routes.default.chain: is the chain of the route that is always there (write models.chain)",
        "aegis.toml:7: models.routes.default.retries: 99 is not between 0 and 10",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
}
