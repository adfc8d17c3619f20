//! `[oidc.<name>]`: other people's pages that one may sign in through.

use serde::{Deserialize, Serialize};

use super::Secret;

/// The settings of a provider, as `config.example.toml` explains them.
pub const SETTINGS: [&str; 11] = [
    "preset",
    "issuer",
    "label",
    "client_id",
    "client_secret",
    "scopes",
    "endpoints",
    "link_verified_email",
    "join_tenant",
    "join_role",
    "join_domains",
];

/// `[oidc.<name>]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// A provider that is known here: nothing but client id and secret is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The issuer's address, exactly as it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What the button says after "Continue with".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the provider calls us.
    pub client_id: String,
    /// What we show the provider; a public client has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// What is asked for beside `openid`. Empty: `email` and `profile`.
    pub scopes: Vec<String>,
    /// Further servers (`https://host`) that the provider's token or key addresses are on.
    pub endpoints: Vec<String>,
    /// Whether an account is signed in to whose e-mail address the provider says it has verified.
    pub link_verified_email: bool,
    /// The tenant that people with a verified address of `join_domains` become members of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_tenant: Option<String>,
    /// As what. Unset: `member`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_role: Option<String>,
    /// The domains of their addresses.
    pub join_domains: Vec<String>,
}

/// A provider that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Google accounts.
    Google,
}

impl Preset {
    /// Its issuer.
    pub fn issuer(self) -> &'static str {
        match self {
            Self::Google => "https://accounts.google.com",
        }
    }

    /// Its name, as people know it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Google => "Google",
        }
    }

    /// The servers beside the issuer's that its token and key addresses are on.
    pub fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Google => {
                &["https://oauth2.googleapis.com", "https://www.googleapis.com", "https://openidconnect.googleapis.com"]
            }
        }
    }
}

impl Oidc {
    /// The issuer's address.
    pub fn issuer(&self) -> &str {
        match (&self.issuer, self.preset) {
            (Some(issuer), _) => issuer,
            (None, Some(preset)) => preset.issuer(),
            (None, None) => "",
        }
    }

    /// What the button says.
    pub fn label<'a>(&'a self, name: &'a str) -> &'a str {
        match (&self.label, self.preset) {
            (Some(label), _) => label,
            (None, Some(preset)) => preset.label(),
            (None, None) => name,
        }
    }
}
