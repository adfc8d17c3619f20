//! `[embedding]`: the models that turn passages and questions into vectors.

use serde::{Deserialize, Serialize};

use super::{Config, ProviderKind, problem::meant};

/// The most numbers in a vector that an index can be made of: pgvector's bound for `halfvec`.
pub const MOST_DIMENSIONS: usize = 4000;

/// The model in this binary, by the name that stands beside its vectors.
const BUILTIN: &str = "all-minilm-l6-v2";

/// `[embedding]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// `builtin`, `ollama/<model>`, `<provider>/<model>`; with `@<dimensions>` where the model gives shorter vectors.
    pub model: String,
    /// Further models that organisations may change to on their own, or come from.
    pub others: Vec<String>,
}

impl Embedding {
    /// All models that are named here.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.model).chain(&self.others).map(String::as_str)
    }

    /// Whether the server of `[models.ollama]` is asked for vectors.
    pub fn asks_ollama(&self) -> bool {
        self.names().any(|name| EmbeddingName::of(name).provider == "ollama")
    }

    /// Whether the model in this binary may be asked.
    pub fn asks_builtin(&self) -> bool {
        self.names().any(|name| EmbeddingName::of(name).provider == "builtin")
    }
}

/// The parts of `openai/text-embedding-3-large@1024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingName<'a> {
    /// `openai`
    pub provider: &'a str,
    /// `text-embedding-3-large`
    pub model: &'a str,
    /// Numbers in a vector, where it is asked for fewer than it has by itself.
    pub dimensions: Option<usize>,
}

impl<'a> EmbeddingName<'a> {
    /// Takes a name apart. What the parts mean is for [`Config::embedding_problem`].
    pub fn of(name: &'a str) -> Self {
        let cut = name.rsplit_once('@').and_then(|(name, digits)| Some((name, digits.parse().ok()?)));
        let (name, dimensions) = cut.map_or((name, None), |(name, dimensions)| (name, Some(dimensions)));
        let (provider, model) = name.split_once('/').unwrap_or((name, ""));
        Self { provider, model, dimensions }
    }
}

impl Config {
    /// Why `name` is no embedding model of this configuration, and what was meant.
    pub fn embedding_problem(&self, name: &str) -> Option<(String, String)> {
        let EmbeddingName { provider, model, dimensions } = EmbeddingName::of(name);
        let problem = |message: String, suggestion: String| Some((message, suggestion));
        if let Some(wrong) = dimensions.filter(|dimensions| !(1..=MOST_DIMENSIONS).contains(dimensions)) {
            return problem(
                format!("\"{name}\" asks for vectors of {wrong} numbers"),
                format!("between 1 and {MOST_DIMENSIONS} can be searched"),
            );
        }
        let kind = match provider {
            "builtin" if matches!(model, "" | BUILTIN) && dimensions.is_none() => return None,
            "builtin" => {
                return problem(
                    format!("there is no embedding model \"{name}\""),
                    "the one in this binary is \"builtin\", with vectors of 384 numbers".to_owned(),
                );
            }
            "ollama" => ProviderKind::Ollama,
            _ => match self.providers.get(provider) {
                Some(provider) => provider.kind(),
                None => return Some(self.no_such_provider(name, provider, model)),
            },
        };
        if kind == ProviderKind::Anthropic {
            return problem(
                format!("\"{name}\" is of Anthropic, which has no embedding models"),
                "write \"builtin\", or a model of Ollama, OpenAI or Gemini".to_owned(),
            );
        }
        if model.trim().is_empty() {
            let example = match kind {
                ProviderKind::Ollama => "nomic-embed-text",
                ProviderKind::Gemini => "gemini-embedding-001",
                _ => "text-embedding-3-small",
            };
            return problem(format!("\"{name}\" names no model"), format!("write \"{provider}/{example}\""));
        }
        if kind == ProviderKind::Ollama && dimensions.is_some() {
            return problem(
                format!("\"{name}\" asks for shorter vectors, which Ollama does not make"),
                format!("write \"{provider}/{model}\""),
            );
        }
        None
    }

    fn no_such_provider(&self, name: &str, provider: &str, model: &str) -> (String, String) {
        let known = self.providers.keys().map(String::as_str).chain(["ollama", "builtin"]);
        let suggestion = match meant(provider, known) {
            Some("builtin") => "did you mean \"builtin\"?".to_owned(),
            Some(meant) if !model.is_empty() => format!("did you mean \"{meant}/{model}\"?"),
            _ if model.is_empty() => {
                format!("write \"builtin\", \"ollama/{provider}\" or \"<provider>/{provider}\"")
            }
            _ => format!("write a section [providers.{provider}]"),
        };
        (format!("there is no embedding model \"{name}\""), suggestion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_whatever_signs_are_in_the_model() {
        for (name, provider, model, dimensions) in [
            ("builtin", "builtin", "", None),
            ("ollama/nomic-embed-text:v1.5", "ollama", "nomic-embed-text:v1.5", None),
            ("openai/text-embedding-3-large@1024", "openai", "text-embedding-3-large", Some(1024)),
            ("router/baai/bge-m3", "router", "baai/bge-m3", None),
            ("cf/@cf/baai/bge-base", "cf", "@cf/baai/bge-base", None),
        ] {
            assert_eq!(EmbeddingName::of(name), EmbeddingName { provider, model, dimensions }, "{name}");
        }
    }
}
