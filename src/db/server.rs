//! Which server and database it is, and how each kind of role connects to it.

use std::{path::Path, str::FromStr as _};

use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    support::{Error, Result, ids::TenantId},
    vault::ApplianceKey,
};

/// The database's name when the server is the appliance's own.
pub const DATABASE: &str = "aegis";

/// The role that administers the appliance's own server; peer authentication lets in nobody but the appliance.
const ADMINISTRATOR: &str = "aegis";

/// A query that takes longer is cancelled by the server. Migrations, run by the administrator, have no such limit.
const STATEMENT_TIMEOUT: &str = "60s";

/// A transaction that waits longer for its next statement is rolled back by the server.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "60s";

/// A PostgreSQL server and the one database of it that is ours.
#[derive(Debug, Clone)]
pub struct Server {
    administrator: PgConnectOptions,
    database: String,
    key: ApplianceKey,
    /// Whether roles need passwords: not over our own server's socket, where peer authentication vouches for us.
    passwords: bool,
}

impl Server {
    /// The appliance's own server, by the directory of its socket and the number in the socket's name.
    pub fn own(socket_directory: &Path, port: u16, key: &ApplianceKey) -> Self {
        let administrator = PgConnectOptions::new_without_pgpass()
            .socket(socket_directory)
            .port(port)
            .username(ADMINISTRATOR)
            .ssl_mode(PgSslMode::Disable);
        Self { administrator, database: DATABASE.to_owned(), key: key.clone(), passwords: false }
    }

    /// Somebody else's server, by URL; the passwords of the roles that we make there are derived from `key`.
    ///
    /// # Errors
    /// When `url` is no PostgreSQL URL or names no database.
    pub fn external(url: &str, key: &ApplianceKey) -> Result<Self> {
        let wrong = || {
            Error::invalid("database.url is not a PostgreSQL URL that names a database")
                .remedy("write it as postgres://user:password@host:5432/aegis")
        };
        // The parser's own message may repeat the URL, password and all: it is dropped.
        let administrator = PgConnectOptions::from_str(url).map_err(|_| wrong())?;
        let database = administrator.get_database().ok_or_else(wrong)?.to_owned();
        Ok(Self { administrator, database, key: key.clone(), passwords: true })
    }

    /// The same server, another database of it.
    #[must_use]
    pub fn with_database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether the server is the appliance's own, reached by its socket, where the administrator is a superuser.
    pub fn is_own(&self) -> bool {
        !self.passwords
    }

    /// The role of the control pool. Roles belong to the whole server, so on a server that is shared with others
    /// its name follows the database's.
    pub fn app_role(&self) -> String {
        if self.is_own() { "aegis_app".to_owned() } else { format!("{}_app", self.database) }
    }

    /// The role that every tenant's roles are members of, and can never become: it may connect, and use the extensions.
    pub(super) fn tenants_role(&self) -> String {
        format!("{}_tenants", self.database)
    }

    /// The password of a role, where roles have one.
    pub(super) fn password(&self, role: &str) -> Option<String> {
        self.passwords.then(|| self.key.derive("postgres role", &format!("{}/{role}", self.database)))
    }

    /// What tells apart the keys of two appliances, without telling anything about the key.
    pub(super) fn key_fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    /// A connection as the administrator, to our database.
    pub(super) async fn administrator(&self) -> Result<PgConnection, sqlx::Error> {
        self.connect_as_administrator(&self.database).await
    }

    /// A connection as the administrator, to any database of the server: for migrations, backups and diagnosis.
    /// No use case has one.
    ///
    /// # Errors
    /// As the driver gives them: the SQLSTATE matters to those who ask.
    pub async fn connect_as_administrator(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        self.administrator.clone().database(database).application_name("aegis administrator").connect().await
    }

    /// How the control pool connects.
    pub(super) fn control(&self) -> PgConnectOptions {
        self.as_role(&self.app_role(), "control,apalis,extensions").application_name("aegis control")
    }

    /// How a tenant's pool connects.
    pub(super) fn tenant(&self, id: &TenantId) -> PgConnectOptions {
        let role = id.schema();
        self.as_role(&role, &format!("{role},extensions")).application_name("aegis tenant")
    }

    /// Settings given at the start of a session win over what a role may have set for itself.
    fn as_role(&self, role: &str, search_path: &str) -> PgConnectOptions {
        let options = self.administrator.clone().database(&self.database).username(role).options([
            ("search_path", search_path),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        ]);
        match self.password(role) {
            Some(password) => options.password(&password),
            None => options,
        }
    }
}
