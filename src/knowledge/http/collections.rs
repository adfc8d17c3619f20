//! Collections: their page, where it is said who reads them, and their API.

use std::collections::BTreeMap;

use askama::Template;
use async_trait::async_trait;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::{KnowledgeState, actor};
use crate::{
    accounts::{Permission, Role, http::InTenant},
    db::TenantDb,
    http::{
        self,
        context::RequestContext,
        extract::{self, Form, Path},
        format,
        frame::{Frame, Section},
    },
    knowledge::{Collection, CollectionDraft, Rights, watch::Refused},
    support::{Error, Result, ids::CollectionId},
};

/// The agents that a collection may be opened to. They are told in `app`; the knowledge base does not know agents.
#[async_trait]
pub trait Colleagues: Send + Sync + 'static {
    /// Their names, as rights have them, and what people call them.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn colleagues(&self, db: &TenantDb) -> Result<Vec<(String, String)>>;
}

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(list_collections, create_collection, change_collection, remove_collection),
    tags((name = "collections", description = "Documents that belong together, and who reads them"))
)]
pub struct CollectionsApi;

/// All collections that one may see.
#[derive(Debug, Serialize, ToSchema)]
pub struct Collections {
    collections: Vec<CollectionAnswer>,
}

/// A collection of documents.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Collection)]
pub struct CollectionAnswer {
    id: CollectionId,
    name: String,
    description: String,
    #[serde(flatten)]
    rights: Rights,
    /// Documents go here when no collection is named.
    is_default: bool,
    /// Without older versions.
    documents: i64,
    created_at: DateTime<Utc>,
}

impl From<Collection> for CollectionAnswer {
    fn from(collection: Collection) -> Self {
        let Collection { id, name, description, rights, is_default, documents, created_at } = collection;
        Self { id, name, description, rights, is_default, documents, created_at }
    }
}

/// List collections
#[utoipa::path(
    get, path = "/api/knowledge/collections", tag = "collections", responses((status = 200, body = Collections))
)]
pub async fn list_collections(State(state): State<KnowledgeState>, tenant: InTenant) -> Result<Json<Collections>> {
    let collections = state.library(&tenant).collections().await?;
    Ok(Json(Collections { collections: collections.into_iter().map(Into::into).collect() }))
}

/// Make a collection
#[utoipa::path(
    post, path = "/api/knowledge/collections", tag = "collections", request_body = CollectionDraft,
    responses((status = 201, body = CollectionAnswer))
)]
pub async fn create_collection(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    extract::Json(draft): extract::Json<CollectionDraft>,
) -> Result<(StatusCode, Json<CollectionAnswer>)> {
    let made = state.library(&tenant).create_collection(draft, actor(&tenant)).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Change a collection
///
/// Its name, its description and who reads it; the rights hold from the next question on.
#[utoipa::path(
    post, path = "/api/knowledge/collections/{collection}", tag = "collections",
    params(("collection" = CollectionId, Path)), request_body = CollectionDraft,
    responses((status = 200, body = CollectionAnswer))
)]
pub async fn change_collection(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<CollectionId>,
    extract::Json(draft): extract::Json<CollectionDraft>,
) -> Result<Json<CollectionAnswer>> {
    Ok(Json(state.library(&tenant).change_collection(id, draft, actor(&tenant)).await?.into()))
}

/// Remove a collection
///
/// It must be empty; the default one stays.
#[utoipa::path(
    delete, path = "/api/knowledge/collections/{collection}", tag = "collections",
    params(("collection" = CollectionId, Path)), responses((status = 204, description = "It is gone"))
)]
pub async fn remove_collection(
    State(state): State<KnowledgeState>,
    tenant: InTenant,
    Path(id): Path<CollectionId>,
) -> Result<StatusCode> {
    state.library(&tenant).remove_collection(id, actor(&tenant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who reads what.
#[derive(Template)]
#[template(path = "collections.html", config = "web/askama.toml")]
struct CollectionsPage {
    frame: Frame,
    collections: Vec<CollectionView>,
    agents: Vec<(String, String)>,
    roles: Vec<RoleChoice>,
    error: Option<String>,
    may_manage: bool,
}

struct CollectionView {
    collection: Collection,
    /// `12 documents`
    size: String,
    /// `Everybody, all agents`
    readers: String,
    /// Files in its watched folder that could not be taken.
    refused: Vec<Refused>,
}

struct RoleChoice {
    role: Role,
    label: &'static str,
}

impl CollectionView {
    fn of(collection: Collection, agents: &[(String, String)], refused: Vec<Refused>) -> Self {
        let people = label(collection.rights.least_role);
        let readers = match &collection.rights.agents {
            None => format!("{people}, all agents"),
            Some(chosen) if chosen.is_empty() => format!("{people}, no agent"),
            Some(chosen) => {
                let names: Vec<&str> = chosen
                    .iter()
                    .map(|id| agents.iter().find(|(known, _)| known == id).map_or(id.as_str(), |(_, name)| name))
                    .collect();
                format!("{people}, {}", names.join(" and "))
            }
        };
        Self { size: format::count(collection.documents, "document"), readers, refused, collection }
    }

    fn reads(&self, agent: &str) -> bool {
        self.collection.rights.agents.as_ref().is_some_and(|agents| agents.iter().any(|named| named == agent))
    }
}

fn label(least: Role) -> &'static str {
    match least {
        Role::Viewer => "Everybody",
        Role::Member => "Members and above",
        Role::Admin => "Admins and owners",
        Role::Owner => "Owners",
    }
}

/// `GET /knowledge/collections`
pub async fn show_collections(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
) -> Result<Response> {
    page(&state, &context, &tenant, None).await
}

/// `POST /knowledge/collections`
pub async fn create_collection_by_form(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response> {
    let made = async { state.library(&tenant).create_collection(draft(&form)?, actor(&tenant)).await };
    told(&state, &context, &tenant, made.await.map(drop)).await
}

/// `POST /knowledge/collections/{collection}`
pub async fn change_collection_by_form(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<CollectionId>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Result<Response> {
    let changed = async { state.library(&tenant).change_collection(id, draft(&form)?, actor(&tenant)).await };
    told(&state, &context, &tenant, changed.await.map(drop)).await
}

/// `POST /knowledge/collections/{collection}/delete`
pub async fn remove_collection_by_form(
    State(state): State<KnowledgeState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<CollectionId>,
) -> Result<Response> {
    let removed = state.library(&tenant).remove_collection(id, actor(&tenant)).await;
    told(&state, &context, &tenant, removed).await
}

/// A field for each agent, `agent-atlas`, since a form has no lists.
fn draft(form: &BTreeMap<String, String>) -> Result<CollectionDraft> {
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    let named: Vec<String> = form.keys().filter_map(|key| key.strip_prefix("agent-")).map(str::to_owned).collect();
    let agents = (!form.contains_key("all-agents")).then_some(named);
    let rights = Rights { least_role: field("least_role").parse()?, agents };
    Ok(CollectionDraft { name: field("name"), description: field("description"), rights })
}

/// Back to the page, which says what was refused.
async fn told(
    state: &KnowledgeState,
    context: &RequestContext,
    tenant: &InTenant,
    done: Result<()>,
) -> Result<Response> {
    match done {
        Ok(()) => Ok(Redirect::to("/knowledge/collections").into_response()),
        Err(error)
            if error.kind() == crate::support::Kind::NotFound || error.kind() == crate::support::Kind::Internal =>
        {
            Err(error)
        }
        Err(error) => {
            let status = http::error::status_of(error.kind());
            Ok((status, page(state, context, tenant, Some(&error)).await?).into_response())
        }
    }
}

async fn page(
    state: &KnowledgeState,
    context: &RequestContext,
    tenant: &InTenant,
    error: Option<&Error>,
) -> Result<Response> {
    let agents = state.colleagues.colleagues(&tenant.db).await?;
    let collections = state.library(tenant).collections().await?;
    let mut shown = Vec::with_capacity(collections.len());
    for collection in collections {
        let refused = state.knowledge.refused_files(&tenant.db, &collection).await?;
        shown.push(CollectionView::of(collection, &agents, refused));
    }
    let own = tenant.signed_in.role;
    let roles = Role::ALL.into_iter().rev().filter(|role| *role <= own);
    http::page(&CollectionsPage {
        frame: tenant.signed_in.frame(context, "Collections", Section::Knowledge),
        collections: shown,
        roles: roles.map(|role| RoleChoice { role, label: label(role) }).collect(),
        error: error.map(ToString::to_string),
        may_manage: tenant.signed_in.may(Permission::KnowledgeManage),
        agents,
    })
}
