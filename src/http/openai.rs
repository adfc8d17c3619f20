//! How an error is told to OpenAI's clients, which come by `/v1`: in the envelope that they turn into exceptions.
//!
//! Format: <https://platform.openai.com/docs/guides/error-codes>.

use serde::Serialize;
use utoipa::ToSchema;

use crate::support::Kind;

/// What OpenAI's clients are told beside the message. A handler puts it on the response of an error.
#[derive(Debug, Clone, Default)]
pub struct Particulars {
    /// The field that is wrong: `messages`.
    pub param: Option<&'static str>,
    /// For programs: `model_not_found`.
    pub code: Option<&'static str>,
}

/// What `/v1` answers instead of what was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OpenAiEnvelope {
    /// Why.
    pub error: OpenAiError,
}

/// Why something was not done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OpenAiError {
    /// What happened and what to do next, for a person.
    pub message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error` or `server_error`.
    pub r#type: &'static str,
    /// The field that is wrong.
    pub param: Option<&'static str>,
    /// For programs: `model_not_found`, `invalid_api_key`, …
    pub code: Option<&'static str>,
}

/// An error of this kind, in sentences, as OpenAI's clients expect it.
pub fn envelope(kind: Kind, message: String, particulars: &Particulars) -> OpenAiEnvelope {
    let (r#type, code) = match kind {
        Kind::Invalid | Kind::Conflict => ("invalid_request_error", None),
        Kind::TooLarge => ("invalid_request_error", Some("context_length_exceeded")),
        Kind::NotFound => ("invalid_request_error", Some("not_found")),
        Kind::Unauthenticated => ("authentication_error", Some("invalid_api_key")),
        Kind::Forbidden => ("permission_error", Some("insufficient_permissions")),
        Kind::TooMany => ("rate_limit_error", Some("rate_limit_exceeded")),
        Kind::Unavailable | Kind::Internal => ("server_error", None),
    };
    OpenAiEnvelope { error: OpenAiError { message, r#type, param: particulars.param, code: particulars.code.or(code) } }
}
