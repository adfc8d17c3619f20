//! `[providers.<name>]`: what is missing, contradictory or out of bounds.

use super::{Checks, is_origin};
use crate::config::{
    Provider, ProviderKind, load,
    providers::{RESERVED, SETTINGS},
};

/// The most that a million tokens may cost: beyond it a price was meant for one token or in another currency.
const DEAREST: f64 = 100_000.0;

impl Checks<'_> {
    /// All that is wrong with one provider.
    pub(super) fn provider(&mut self, name: &str, provider: &Provider) {
        let key = |setting: &str| format!("providers.{name}.{setting}");
        // What is missing is told at a setting that is there.
        let given = SETTINGS.into_iter().map(key).find(|key| self.given.contains_key(key)).unwrap_or_default();
        if RESERVED.contains(&name) {
            let suggestion = format!("choose another name, such as \"{name}-2\"");
            self.refuse_because_of(
                &given,
                &format!("providers.{name}"),
                format!("\"{name}\" has a meaning in models.chain already"),
                Some(&suggestion),
            );
        }
        let Some(kind) = provider.kind else {
            let suggestion = "write kind = \"openai\", \"anthropic\", \"gemini\" or \"ollama\"";
            return self.refuse_because_of(&given, &key("kind"), "is missing", Some(suggestion));
        };
        match &provider.url {
            None if kind == ProviderKind::Ollama => {
                self.refuse_because_of(
                    &given,
                    &key("url"),
                    "is missing",
                    Some("write it as \"http://192.168.1.20:11434\""),
                );
            }
            Some(url) if !is_address(url) => {
                let message = format!("\"{}\" is not an address of a server", load::masked(url));
                self.refuse(&key("url"), message, Some("write it as \"https://api.example.org/v1\""));
            }
            _ => {}
        }
        if provider.url.is_none() && provider.key.is_none() && kind.vendor().is_some() {
            let suggestion = "write key = { file = \"/path\" } or key = { env = \"NAME\" }";
            self.refuse_because_of(&given, &key("key"), "is missing: the vendor wants one", Some(suggestion));
        }
        for (setting, seconds) in [
            ("load_timeout_seconds", provider.load_timeout_seconds),
            ("idle_timeout_seconds", provider.idle_timeout_seconds),
        ] {
            self.within(&key(setting), seconds.unwrap_or(1), 1, 3600);
        }
        self.models_of(&key("models"), provider);
    }

    fn models_of(&mut self, key: &str, provider: &Provider) {
        for (name, model) in &provider.models {
            let context = model.context.unwrap_or(512);
            if name.trim().is_empty() {
                self.refuse(key, "names a model that has no name", None);
            }
            if !(512..=1 << 24).contains(&context) {
                self.refuse(key, format!("{name}: context = {context} is not between 512 and {}", 1 << 24), None);
            }
            if model.input_price.is_some() != model.output_price.is_some() {
                let suggestion = "write both prices, or neither; 0.0 is a price too";
                self.refuse(key, format!("{name}: input_price and output_price belong together"), Some(suggestion));
            }
            for price in [model.input_price, model.output_price].into_iter().flatten() {
                if !(0.0..=DEAREST).contains(&price) {
                    let suggestion = "write the price of a million tokens";
                    self.refuse(key, format!("{name}: {price} is no price"), Some(suggestion));
                }
            }
        }
    }
}

/// `https://host:port/path`: no credentials, no query. A key stands in `key`, where it is kept secret.
fn is_address(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~/%:".contains(c);
    is_origin(&format!("{scheme}://{authority}")) && path.chars().all(fits)
}
