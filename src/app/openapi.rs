//! `GET /api/openapi.json`: the API as OpenAPI 3.1, made of what the slices say of their handlers.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, Info, InfoBuilder, Ref, ResponseBuilder,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{egress_api::EgressApi, table::Declared};
use crate::{
    accounts::http::{
        Access, SessionApi, organisation::OrganisationApi, people_api::PeopleApi, security::SecurityApi,
        tokens::TokensApi,
    },
    agents::{
        approvals::http::ApprovalsApi, http::ChatApi, memory::http::MemoryApi, policy::http::ToolsApi,
        staff::http::StaffApi,
    },
    boardroom::http::BoardroomApi,
    developer::http::DeveloperApi,
    http::{error::Envelope, openai::OpenAiEnvelope},
    integrations::mcp::http::McpApi,
    knowledge::{
        embedding::http::EmbeddingApi,
        http::{CollectionsApi, KnowledgeApi, UploadsApi},
    },
    models::budget::http::UsageApi,
    operator::http::{OperatorApi, models::ModelsApi},
    runs::http::AuditApi,
    secrets::http::SecretsApi,
};

/// Every slice's part of the description.
fn parts() -> Vec<utoipa::openapi::OpenApi> {
    vec![
        SessionApi::openapi(),
        PeopleApi::openapi(),
        SecurityApi::openapi(),
        TokensApi::openapi(),
        ChatApi::openapi(),
        StaffApi::openapi(),
        MemoryApi::openapi(),
        BoardroomApi::openapi(),
        ApprovalsApi::openapi(),
        ToolsApi::openapi(),
        KnowledgeApi::openapi(),
        CollectionsApi::openapi(),
        UploadsApi::openapi(),
        EmbeddingApi::openapi(),
        SecretsApi::openapi(),
        UsageApi::openapi(),
        OrganisationApi::openapi(),
        OperatorApi::openapi(),
        ModelsApi::openapi(),
        AuditApi::openapi(),
        EgressApi::openapi(),
        DeveloperApi::openapi(),
        McpApi::openapi(),
    ]
}

#[derive(OpenApi)]
#[openapi(components(schemas(Envelope, OpenAiEnvelope)))]
struct Base;

/// The whole description: the slices' parts, and what is the same for all of them. Who may use a route, and by what,
/// is taken from the routes themselves.
pub fn describe(routes: &[Declared]) -> utoipa::openapi::OpenApi {
    let mut api = Base::openapi();
    for part in parts() {
        api.merge(part);
    }
    api.info = info();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("token", token());
    components
        .add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("aegis_session"))));
    for (path, item) in &mut api.paths.paths {
        let operations = [
            ("GET", &mut item.get),
            ("POST", &mut item.post),
            ("PUT", &mut item.put),
            ("PATCH", &mut item.patch),
            ("DELETE", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let route = routes.iter().find(|route| route.method.as_str() == method && route.path == path);
            let refusal = if path.starts_with("/v1/") { "OpenAiEnvelope" } else { "Envelope" };
            complete(operation, route.map_or(Access::SignedIn, |route| route.access), refusal);
        }
    }
    api
}

/// Answers with the description, which is made once.
pub fn show(json: &std::result::Result<String, serde_json::Error>) -> Response {
    match json {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json.clone()).into_response(),
        Err(fault) => {
            tracing::error!(error = %fault, "the API's description cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn complete(operation: &mut Operation, access: Access, refusal: &str) {
    let refused = ResponseBuilder::new()
        .description("It was not done, and why")
        .content("application/json", ContentBuilder::new().schema(Some(Ref::from_schema_name(refusal))).build())
        .build();
    operation.responses.responses.insert("default".to_owned(), refused.into());
    let session = SecurityRequirement::new::<_, [&str; 0], &str>("session", []);
    let token = SecurityRequirement::new::<_, [&str; 0], &str>("token", []);
    let (needs, security) = match access {
        Access::Open => ("Open to everybody.".to_owned(), Vec::new()),
        Access::SignedIn => ("For whoever is signed in.".to_owned(), vec![session, token]),
        Access::InPerson => ("For whoever is signed in, in person: no API token reaches it.".to_owned(), vec![session]),
        Access::Needs(permission) => (format!("Needs `{permission}`."), vec![session, token]),
        Access::Operator => ("For the appliance's operators, in person.".to_owned(), vec![session]),
    };
    let described = operation.description.take().filter(|text| !text.is_empty());
    operation.description = Some(described.map_or_else(|| needs.clone(), |text| format!("{text}\n\n{needs}")));
    operation.security = Some(security);
}

fn token() -> SecurityScheme {
    SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token, made under Account › API tokens. It carries the scopes it was made with."))
            .build(),
    )
}

fn info() -> Info {
    InfoBuilder::new()
        .title("AEGIS")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "What the console does, for programs. Whatever is not done is answered with an `Envelope`, and below `/v1` as OpenAI's clients expect it. Requests with a \
             session's cookie that change something need the header `x-csrf-token` (see `/api/session`); those with an \
             API token need nothing else.",
        ))
        .build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn no_two_types_have_one_name_in_the_description() {
        let mut known = BTreeMap::new();
        for part in parts() {
            for (name, schema) in part.components.map(|components| components.schemas).unwrap_or_default() {
                let schema = serde_json::to_value(schema).unwrap();
                let before = known.entry(name.clone()).or_insert_with(|| schema.clone());
                assert_eq!(*before, schema, "two types are called {name}: give one of them #[schema(as = …)]");
            }
        }
        assert!(known.len() > 50, "{}", known.len());
    }
}
