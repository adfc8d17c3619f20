//! Settings that are well formed and still cannot be used, alone or together.

mod providers;
mod routes;

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::{
    AllowedHost, Budgets, Config, DatabaseMode, Oidc,
    load::Given,
    oidc,
    problem::{Origin, Problem},
};

/// The connection limit of a tenant's role.
const TENANT_CONNECTION_LIMIT: u64 = 5;

/// The most tokens that the embedding model in this binary reads.
const BUILTIN_EMBEDDING_TOKENS: u64 = 256;

/// What somebody may become by an address alone.
const JOINING_ROLES: [&str; 2] = ["member", "viewer"];

/// All contradictions, in the order of the example file.
pub(super) fn check(config: &Config, given: &Given) -> Vec<Problem> {
    let mut checks = Checks { given, problems: Vec::new() };
    if config.data_dir.as_os_str().is_empty() {
        checks.refuse("data_dir", "is empty", None);
    }
    checks.server(config);
    checks.database(config);
    if let Err(error) = EnvFilter::try_new(&config.log.level) {
        checks.refuse("log.level", format!("is no level: {error}"), Some("use error, warn, info, debug or trace"));
    }
    checks.limits(config);
    checks.embedding(config);
    for (name, provider) in &config.oidc {
        checks.oidc(config, name, provider);
    }
    checks.models(config);
    for (name, provider) in &config.providers {
        checks.provider(name, provider);
    }
    checks.egress(config);
    checks.problems
}

struct Checks<'g> {
    given: &'g Given,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn refuse(&mut self, key: &str, message: impl Into<String>, suggestion: Option<&str>) {
        self.refuse_because_of(key, key, message, suggestion);
    }

    /// `cause` is the setting that was given where `key` itself was left as it is.
    fn refuse_because_of(&mut self, cause: &str, key: &str, message: impl Into<String>, suggestion: Option<&str>) {
        let setting = self.given.get(key).or_else(|| self.given.get(cause));
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        self.problems.push(Problem::new(origin, key, message).suggest(suggestion.map(str::to_owned)));
    }

    fn server(&mut self, config: &Config) {
        let listen = &config.server.listen;
        if listen.parse::<SocketAddr>().is_err() {
            let suggestion = match listen.rsplit_once(':') {
                Some(("localhost", port)) => format!("write \"127.0.0.1:{port}\""),
                Some(("" | "*", port)) => format!("write \"0.0.0.0:{port}\" for all addresses of this machine"),
                _ if listen.parse::<u16>().is_ok() => format!("write \"127.0.0.1:{listen}\""),
                _ => "write an address and a port, as \"127.0.0.1:8480\"".to_owned(),
            };
            self.refuse("server.listen", format!("\"{listen}\" is not an address with a port"), Some(&suggestion));
        }
        let url = &config.server.public_url;
        if !url.is_empty() && !is_origin(url) {
            let message = format!("\"{url}\" is not an address that people can open");
            self.refuse(
                "server.public_url",
                message,
                Some("write it as \"https://aegis.example.org\", without a path"),
            );
        }
    }

    fn database(&mut self, config: &Config) {
        let database = &config.database;
        let external = database.mode == DatabaseMode::External;
        match &database.url {
            None if external => {
                let suggestion = "write url = { file = \"/etc/aegis/database-url\" }";
                self.refuse_because_of(
                    "database.mode",
                    "database.url",
                    "is missing, and mode \"external\" needs it",
                    Some(suggestion),
                );
            }
            Some(_) if !external => {
                let suggestion = "set mode = \"external\", or remove it";
                self.refuse("database.url", "has a meaning in mode \"external\" only", Some(suggestion));
            }
            _ => {}
        }
        if database.bin_dir.is_some() && database.mode != DatabaseMode::System {
            let suggestion = "set mode = \"system\", or remove it";
            self.refuse("database.bin_dir", "has a meaning in mode \"system\" only", Some(suggestion));
        }
        self.within("database.control_connections", database.control_connections, 3, 100);
        self.within("database.tenant_connections", database.tenant_connections, 1, TENANT_CONNECTION_LIMIT);
        self.within("database.open_tenants", database.open_tenants, 1, 500);
    }

    fn limits(&mut self, config: &Config) {
        let accounts = &config.accounts;
        self.within("accounts.session_idle_hours", accounts.session_idle_hours, 1, 24 * 365);
        self.within("accounts.session_days", accounts.session_days, 1, 365);
        if accounts.session_idle_hours > accounts.session_days.saturating_mul(24) {
            let message = format!(
                "{} hours are more than a session may last: session_days = {}",
                accounts.session_idle_hours, accounts.session_days
            );
            self.refuse_because_of("accounts.session_days", "accounts.session_idle_hours", message, None);
        }
        self.within("accounts.concurrent_hashes", accounts.concurrent_hashes, 1, 64);
        self.within("tenants.deletion_grace_days", config.tenants.deletion_grace_days, 0, 3650);
        let knowledge = &config.knowledge;
        self.within("knowledge.max_file_mib", knowledge.max_file_mib, 1, 1024);
        self.within("knowledge.extract_memory_mib", knowledge.extract_memory_mib, 128, 1 << 20);
        self.within("knowledge.extract_cpu_seconds", knowledge.extract_cpu_seconds, 1, 3600);
        let most = if config.embedding.asks_builtin() { BUILTIN_EMBEDDING_TOKENS } else { 2048 };
        self.within("knowledge.passage_tokens", knowledge.passage_tokens, 32, most);
        self.within("knowledge.workers", knowledge.workers, 1, 32);
        self.within("knowledge.watch_seconds", knowledge.watch_seconds, 1, 86_400);
        self.route(config, "knowledge.rerank_route", &knowledge.rerank_route);
        if !knowledge.watch_folder.as_os_str().is_empty() && !knowledge.watch_folder.is_absolute() {
            self.refuse("knowledge.watch_folder", "is not a whole path".to_owned(), Some("begin it with /"));
        }
        let agents = &config.agents;
        self.within("agents.max_steps", agents.max_steps, 1, 100);
        self.within("agents.max_minutes", agents.max_minutes, 1, 24 * 60);
        self.within("agents.max_tokens", agents.max_tokens, 1000, 1_000_000_000);
        self.within("agents.approval_hours", agents.approval_hours, 1, 24 * 365);
        self.budgets(&config.budgets);
    }

    fn embedding(&mut self, config: &Config) {
        let names: Vec<&str> = config.embedding.names().collect();
        for (place, name) in names.iter().enumerate() {
            let key = if place == 0 { "embedding.model" } else { "embedding.others" };
            if let Some((message, suggestion)) = config.embedding_problem(name) {
                self.refuse(key, message, Some(&suggestion));
            } else if names[..place].contains(name) {
                self.refuse(key, format!("names \"{name}\", which stands there already"), None);
            }
        }
    }

    fn budgets(&mut self, budgets: &Budgets) {
        let currency = &budgets.currency;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let message = format!("\"{currency}\" is no currency");
            self.refuse("budgets.currency", message, Some("write its three letters, as \"USD\" or \"EUR\""));
        }
        if !(0.0..=1e9).contains(&budgets.money_per_month) {
            let message = format!("{} is no amount", budgets.money_per_month);
            self.refuse("budgets.money_per_month", message, Some("write 0.0 for no bound"));
        }
        self.within("budgets.paid_tokens_per_month", budgets.paid_tokens_per_month, 0, 1_000_000_000_000);
        self.within("budgets.warn_percent", budgets.warn_percent, 1, 100);
    }

    fn models(&mut self, config: &Config) {
        let models = &config.models;
        self.routes(config);
        let ollama = &models.ollama;
        if !is_origin(ollama.url.trim_end_matches('/')) {
            let message = format!("\"{}\" is not an address of a server", super::load::masked(&ollama.url));
            self.refuse("models.ollama.url", message, Some("write it as \"http://127.0.0.1:11434\""));
        }
        if ollama.model.trim().is_empty() && models.targets().any(|target| target == "ollama") {
            self.refuse(
                "models.ollama.model",
                "is empty, and the chain asks ollama",
                Some("name a model, or leave ollama out of models.chain"),
            );
        }
        self.within("models.ollama.max_context", ollama.max_context, 512, 1 << 21);
        self.within("models.ollama.load_timeout_seconds", ollama.load_timeout_seconds, 1, 3600);
        self.within("models.ollama.idle_timeout_seconds", ollama.idle_timeout_seconds, 1, 3600);
        self.within("models.ollama.keep_alive_minutes", ollama.keep_alive_minutes, 0, 60 * 24 * 365);
        self.within("models.ollama.parallel", ollama.parallel, 0, 1024);
        self.within("models.builtin.max_context", models.builtin.max_context, 512, 1 << 20);
        self.within("models.builtin.threads", models.builtin.threads, 0, 1024);
        self.within("models.builtin.unload_seconds", models.builtin.unload_seconds, 1, 1 << 30);
    }

    fn egress(&mut self, config: &Config) {
        for entry in &config.egress.allow {
            if let Err(error) = entry.parse::<AllowedHost>() {
                self.refuse("egress.allow", error.message(), error.remedy_text());
            }
        }
        self.within("egress.timeout_seconds", config.egress.timeout_seconds, 1, 3600);
        self.within("egress.max_response_mib", config.egress.max_response_mib, 1, 1024);
    }

    fn oidc(&mut self, config: &Config, name: &str, provider: &Oidc) {
        let key = |setting: &str| format!("oidc.{name}.{setting}");
        // What is missing is told at a setting that is there.
        let given = oidc::SETTINGS.into_iter().map(key).find(|key| self.given.contains_key(key)).unwrap_or_default();
        let issuer = provider.issuer();
        if issuer.is_empty() {
            self.refuse_because_of(
                &given,
                &key("issuer"),
                "is missing",
                Some("write the issuer's address, or preset = \"google\""),
            );
        } else if !is_issuer(issuer) {
            let message = format!("\"{}\" is not the address of an issuer", super::load::masked(issuer));
            let suggestion = "write it as \"https://id.example.org\"; http is for this machine alone";
            self.refuse_because_of(&given, &key("issuer"), message, Some(suggestion));
        }
        for address in provider.endpoints.iter().filter(|address| !is_origin(address) || !is_issuer(address)) {
            let message = format!("\"{}\" is not an address of a server", super::load::masked(address));
            self.refuse(&key("endpoints"), message, Some("write it as \"https://keys.example.org\", without a path"));
        }
        if provider.client_id.trim().is_empty() {
            self.refuse_because_of(
                &given,
                &key("client_id"),
                "is missing",
                Some("the provider gives it to you when you register the console there"),
            );
        }
        if provider.preset.is_some() && provider.client_secret.is_none() {
            self.refuse_because_of(
                &given,
                &key("client_secret"),
                "is missing",
                Some("write client_secret = { file = \"/path\" }"),
            );
        }
        if config.server.public_url.is_empty() {
            let suggestion = "the provider sends people back to it: \"https://aegis.example.org\"";
            self.refuse_because_of(&given, "server.public_url", "is needed by [oidc]", Some(suggestion));
        }
        if provider.join_tenant.is_none() != provider.join_domains.is_empty() {
            let suggestion = "name the tenant and the domains, or neither";
            self.refuse_because_of(&given, &key("join_tenant"), "and join_domains belong together", Some(suggestion));
        }
        if let Some(role) = provider.join_role.as_deref().filter(|role| !JOINING_ROLES.contains(role)) {
            let message = format!("\"{role}\" is not among {}", JOINING_ROLES.join(", "));
            self.refuse(&key("join_role"), message, Some("nobody becomes an owner or an admin by their address alone"));
        }
    }

    fn within(&mut self, key: &str, number: impl Into<u64>, least: u64, most: u64) {
        let number = number.into();
        if number < least || number > most {
            self.refuse(key, format!("{number} is not between {least} and {most}"), None);
        }
    }
}

/// `https://host/path`; plain http reaches this machine alone.
fn is_issuer(url: &str) -> bool {
    let (host, secure) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return false,
    };
    let authority = host.split('/').next().unwrap_or_default();
    let local = ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|name| authority.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')));
    is_origin(&format!("https://{authority}")) && (secure || local) && !url.contains(['?', '#', ' '])
}

/// `http://host`, `https://host:port`: nothing before the host and nothing behind the port.
fn is_origin(url: &str) -> bool {
    let Some(host) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else { return false };
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    !host.is_empty() && !host.starts_with([':', '.']) && host.chars().all(allowed)
}
