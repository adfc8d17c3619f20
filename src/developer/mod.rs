//! AEGIS for other programs: agents as the models of an API that OpenAI's clients speak.
//!
//! ```text
//! http: completions ┬─ conversation   messages become a question with what was said before
//!       responses ──┼─ offer          tools, formats and bounds that a program brings along
//!       models      ├─ annotations    marks of an answer become addresses of passages
//!       embeddings  └─ lanes          how many answers a person's programs may wait for at once
//!       mcp ───────── mcp             tools for the agents of other programs
//! ```

mod annotations;
mod conversation;
pub mod http;
mod lanes;
mod mcp;
mod offer;

pub use lanes::Lanes;

use crate::support::{Error, Kind};

/// An error with what OpenAI's clients are told beside the message.
#[derive(Debug)]
pub struct Problem {
    error: Error,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Problem {
    /// The field `param` is wrong; `message` says how.
    fn of(param: &'static str, message: impl Into<String>) -> Self {
        Self { error: Error::invalid(message), param: Some(param), code: None }
    }

    /// The field is right, and this appliance does not do what it asks for.
    fn unsupported(param: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_value"), ..Self::of(param, message) }
    }

    /// There is no agent of that name.
    fn no_model(name: &str) -> Self {
        let name: String = name.chars().take(80).collect();
        let error = Error::new(Kind::NotFound, format!("the model `{}` does not exist", name.escape_debug()))
            .remedy("name one of the agents that GET /v1/models lists");
        Self { error, param: Some("model"), code: Some("model_not_found") }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, param: None, code: None }
    }
}
