//! Every route of the web server on one screen.

use axum::{
    Router,
    extract::FromRef,
    routing::{delete, get, post},
};
use std::sync::Arc;

use super::{readiness::Parts, wiring::App};
use crate::{
    accounts::http::{self as accounts, AccountsState},
    agents::http::{self as agents, ChatState},
    http::{
        assets::show_asset,
        health::{Ready, show_health, show_readiness},
        middleware,
        theme::set_theme,
    },
    knowledge::http::{self as knowledge, KnowledgeState},
};

/// The console, its API and the health pages, with the guards round all of them.
pub fn router(app: &App, parts: Parts) -> Router {
    let state = WebState { app: app.clone(), ready: Ready(Arc::new(parts)) };
    let router = Router::new()
        // Open to everybody
        .route("/healthz", get(show_health))
        .route("/readyz", get(show_readiness))
        .route("/assets/{build}/{*path}", get(show_asset))
        .route("/sign-in", get(accounts::show_sign_in).post(accounts::sign_in))
        .route("/setup", get(accounts::show_setup).post(accounts::complete_setup))
        .route("/theme", post(set_theme))
        // Signed in: pages
        .route("/", get(agents::show_start))
        .route("/sign-out", post(accounts::sign_out))
        .route("/chat", get(agents::show_new_chat).post(agents::ask_by_form))
        .route("/chat/{conversation}", get(agents::show_conversation))
        .route(
            "/knowledge",
            get(knowledge::show_knowledge).post(knowledge::add_documents_by_form).layer(knowledge::upload_limit()),
        )
        .route("/knowledge/{document}", get(knowledge::show_document))
        .route("/knowledge/{document}/delete", post(knowledge::delete_document_by_form))
        .route("/knowledge/{document}/original", get(knowledge::download_original))
        // Signed in: the API that the pages' scripts use
        .route("/api/session", get(accounts::show_session))
        .route("/api/chat", post(agents::ask))
        .route("/api/chat/conversations", get(agents::list_conversations))
        .route("/api/chat/runs/{run}/cancel", post(agents::cancel_run))
        .route(
            "/api/knowledge/documents",
            get(knowledge::list_documents).post(knowledge::add_documents).layer(knowledge::upload_limit()),
        )
        .route("/api/knowledge/documents/{document}", delete(knowledge::delete_document))
        .route("/api/knowledge/search", get(knowledge::search_passages))
        .route("/api/knowledge/passages/{passage}", get(knowledge::show_passage))
        .with_state(state);
    middleware::apply(router, app.kit.clone())
}

/// What the handlers take out of the router's state.
#[derive(Clone)]
struct WebState {
    app: App,
    ready: Ready,
}

impl FromRef<WebState> for AccountsState {
    fn from_ref(state: &WebState) -> Self {
        Self { accounts: state.app.accounts.clone(), databases: state.app.databases.clone() }
    }
}

impl FromRef<WebState> for ChatState {
    fn from_ref(state: &WebState) -> Self {
        let App { agents, knowledge, clock, .. } = &state.app;
        Self { agents: agents.clone(), shelf: Arc::new(knowledge.clone()), clock: clock.clone() }
    }
}

impl FromRef<WebState> for KnowledgeState {
    fn from_ref(state: &WebState) -> Self {
        let App { knowledge, clock, config, .. } = &state.app;
        let max_file_bytes = config.knowledge.max_file_mib << 20;
        Self { knowledge: knowledge.clone(), clock: clock.clone(), max_file_bytes }
    }
}

impl FromRef<WebState> for Ready {
    fn from_ref(state: &WebState) -> Self {
        state.ready.clone()
    }
}
