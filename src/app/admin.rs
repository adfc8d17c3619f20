//! What the admin socket answers: the command line's side of every use case, as JSON.
//!
//! The socket is 0600 in the data directory, so whoever can open it may do everything; each action is still
//! written to the tenant's audit log, as the operator's.

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{doctor, wiring::App};
use crate::{
    accounts::{EmailAddress, Password, Role},
    agents::Ask,
    audit::{self, Actor},
    db::TenantDb,
    http::error::{kind_name, status_of},
    knowledge::{Document, Upload},
    support::{
        Error, Result,
        ids::{DocumentId, RunId},
    },
    tenants::{Slug, Tenant},
};

/// Every route of the admin socket.
pub fn router(app: App) -> Router {
    let largest = usize::try_from(app.config.knowledge.max_file_mib << 20).unwrap_or(usize::MAX);
    Router::new()
        .route("/tenants", get(list_tenants).post(create_tenant))
        .route("/users", post(create_user))
        .route("/tenants/{slug}/knowledge/documents", get(list_documents).post(add_document))
        .route("/tenants/{slug}/knowledge/documents/{id}", get(show_document).delete(remove_document))
        .route("/tenants/{slug}/knowledge/search", get(search))
        .route("/tenants/{slug}/ask", post(ask))
        .route("/tenants/{slug}/audit/verify", get(verify_audit))
        .route("/audit/runs/{run}", get(show_run))
        .route("/doctor", get(examine))
        // One byte more than allowed reaches the use case, whose refusal names the limit.
        .layer(DefaultBodyLimit::max(largest + 1))
        .with_state(app)
}

type Answer<T = Json<Value>> = std::result::Result<T, Refused>;

/// An error as the operator sees it: with its causes, which nobody else is shown.
struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let mut message = error.message().to_owned();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            message = format!("{message}: {inner}");
            cause = inner.source();
        }
        let envelope = json!({
            "error": { "kind": kind_name(error.kind()), "message": message, "remedy": error.remedy_text() }
        });
        (status_of(error.kind()), Json(envelope)).into_response()
    }
}

async fn list_tenants(State(app): State<App>) -> Answer {
    let tenants = app.tenants.list().await?;
    Ok(Json(tenants.iter().map(tenant_json).collect()))
}

#[derive(Deserialize)]
struct NewTenant {
    slug: String,
    name: String,
}

async fn create_tenant(State(app): State<App>, Json(new): Json<NewTenant>) -> Answer {
    let slug: Slug = new.slug.parse()?;
    let tenant = app.tenants.create(&slug, &new.name).await?;
    Ok(Json(tenant_json(&tenant)))
}

fn tenant_json(tenant: &Tenant) -> Value {
    json!({ "slug": tenant.slug, "name": tenant.name, "id": tenant.id, "created_at": tenant.created_at })
}

#[derive(Deserialize)]
struct NewUser {
    email: String,
    tenant: String,
    role: Role,
    name: Option<String>,
    password: String,
}

async fn create_user(State(app): State<App>, Json(new): Json<NewUser>) -> Answer {
    let email: EmailAddress = new.email.parse()?;
    let password = Password::chosen(&new.password)?;
    let tenant = find_tenant(&app, &new.tenant).await?;
    let name = new.name.unwrap_or_else(|| email.to_string().split('@').next().unwrap_or_default().to_owned());
    let user = app.accounts.create_user(&email, &name, password, &tenant, new.role).await?;
    Ok(Json(json!({
        "id": user.id, "email": user.email, "name": user.name, "tenant": tenant.slug, "role": new.role,
    })))
}

async fn list_documents(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    let documents = app.knowledge.list(&db).await?;
    Ok(Json(documents.iter().map(document_json).collect()))
}

#[derive(Deserialize)]
struct FileName {
    name: String,
}

async fn add_document(
    State(app): State<App>,
    Path(slug): Path<String>,
    Query(file): Query<FileName>,
    bytes: Bytes,
) -> Answer {
    let db = open(&app, &slug).await?;
    let added =
        app.knowledge.add(&db, Upload { file_name: file.name, bytes: bytes.into(), by: Actor::Operator }).await?;
    Ok(Json(json!({ "document": document_json(&added.document), "already_there": added.already_there })))
}

async fn show_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    Ok(Json(document_json(&find_document(&app, &db, id).await?)))
}

async fn remove_document(State(app): State<App>, Path((slug, id)): Path<(String, DocumentId)>) -> Answer {
    let db = open(&app, &slug).await?;
    let document = find_document(&app, &db, id).await?;
    app.knowledge.remove(&db, id, Actor::Operator).await?;
    Ok(Json(document_json(&document)))
}

async fn find_document(app: &App, db: &TenantDb, id: DocumentId) -> Result<Document> {
    app.knowledge.document(db, id).await?.ok_or_else(|| Error::not_found("the document"))
}

fn document_json(document: &Document) -> Value {
    let (done, total) = document.progress;
    json!({
        "id": document.id, "title": document.title, "status": document.status, "passages": document.passages,
        "pages": document.pages, "bytes": document.bytes, "error": document.error,
        "progress_done": done, "progress_total": total, "created_at": document.created_at,
    })
}

#[derive(Deserialize)]
struct Search {
    q: String,
    limit: usize,
}

async fn search(State(app): State<App>, Path(slug): Path<String>, Query(search): Query<Search>) -> Answer {
    let db = open(&app, &slug).await?;
    let hits = app.knowledge.search(&db, &search.q, search.limit).await?;
    Ok(Json(
        hits.iter()
            .map(|hit| {
                json!({
                    "document": hit.title, "locator": hit.passage.locator, "score": hit.score, "text": hit.passage.text,
                })
            })
            .collect(),
    ))
}

#[derive(Deserialize)]
struct Question {
    agent: String,
    question: String,
}

/// Streams the run's events, one JSON object a line.
async fn ask(State(app): State<App>, Path(slug): Path<String>, Json(question): Json<Question>) -> Answer<Response> {
    let db = open(&app, &slug).await?;
    let ask = Ask {
        agent: question.agent,
        question: question.question,
        conversation: None,
        actor: Actor::Operator,
        user: None,
    };
    let run = app.agents.ask(&db, ask).await?;
    let lines = run.events.map(|event| {
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        Ok::<_, serde_json::Error>(line)
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn verify_audit(State(app): State<App>, Path(slug): Path<String>) -> Answer {
    let db = open(&app, &slug).await?;
    let found = audit::verify(&db).await?;
    let intact = found.broken.is_none();
    Ok(Json(json!({ "intact": intact, "entries": found.entries, "head": found.head, "broken": found.broken })))
}

#[derive(Deserialize)]
struct OfTenant {
    tenant: Option<String>,
}

async fn show_run(State(app): State<App>, Path(run): Path<RunId>, Query(of): Query<OfTenant>) -> Answer {
    let tenants = match of.tenant {
        Some(slug) => vec![find_tenant(&app, &slug).await?],
        None => app.tenants.list().await?,
    };
    for tenant in tenants {
        let db = app.tenants.open(&tenant).await?;
        let entries = audit::of_run(&db, run).await?;
        if !entries.is_empty() {
            return Ok(Json(serde_json::to_value(&entries).map_err(Error::internal)?));
        }
    }
    Err(Error::not_found("the run").into())
}

async fn examine(State(app): State<App>) -> Answer {
    Ok(Json(serde_json::to_value(doctor::examine(&app).await).map_err(Error::internal)?))
}

async fn find_tenant(app: &App, slug: &str) -> Result<Tenant> {
    let slug: Slug = slug.parse()?;
    app.tenants.by_slug(&slug).await?.ok_or_else(|| {
        Error::not_found(&format!("the tenant {slug}")).remedy("`aegis tenant list` shows those that there are")
    })
}

async fn open(app: &App, slug: &str) -> Result<TenantDb> {
    let tenant = find_tenant(app, slug).await?;
    app.tenants.open(&tenant).await
}
