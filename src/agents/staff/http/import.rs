//! A workspace that is brought along: its files become a draft in the editor, and are saved from there.

use askama::Template;
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartError},
    http::StatusCode,
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{StaffState, api::AgentView, editor, view::Edited};
use crate::{
    accounts::http::InTenant,
    agents::staff::{
        Reason,
        workspace::{self, Workspace},
    },
    http::{
        self,
        context::RequestContext,
        error::{form_refused, in_sentences, is_of_the_server},
        extract::Query,
        frame::{Frame, Section},
    },
    support::{Error, Kind, Result},
};

/// The most bytes of one request.
const BYTES: usize = workspace::ARCHIVE_BYTES * 2;

/// Where the files are chosen.
#[derive(Template)]
#[template(path = "agent_import.html", config = "web/askama.toml")]
struct ImportPage {
    frame: Frame,
    error: Option<String>,
}

/// Files of a workspace.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read as a stream")]
pub struct WorkspaceFiles {
    /// `SOUL.md`, `IDENTITY.md`, `AGENTS.md`, `MEMORY.md`, `USER.md`, or a .zip that has them.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
}

/// `?save=true`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Saves {
    /// Add the agent at once; otherwise it is only shown what would become of the files.
    #[serde(default)]
    save: bool,
}

/// What becomes of a workspace.
#[derive(Serialize, ToSchema)]
pub struct Imported {
    #[serde(flatten)]
    workspace: Workspace,
    /// The agent, if it was added.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<AgentView>,
}

/// `GET /agents/import`
pub async fn show_import(context: RequestContext, tenant: InTenant) -> Result<Response> {
    http::page(&page(&context, &tenant, None))
}

/// `POST /agents/import`: shows the agent that the files would become, in the editor.
pub async fn import_by_form(
    State(state): State<StaffState>,
    context: RequestContext,
    tenant: InTenant,
    form: Multipart,
) -> Result<Response> {
    let workspace = match take(form).await {
        Ok(workspace) => workspace,
        Err(error) if is_of_the_server(error.kind()) => return Err(error),
        Err(error) => {
            let shown = page(&context, &tenant, Some(in_sentences(&error)));
            return Ok(form_refused(&error, http::page(&shown)?));
        }
    };
    let mut shown = editor(&state, &context, &tenant, None, Edited::imported(workspace)).await?;
    shown.previewed = true;
    http::page(&shown)
}

/// Bring a workspace along
///
/// The files of an OpenClaw workspace as an agent: shows what becomes of each, and adds the agent when told to.
#[utoipa::path(
    post, path = "/api/agents/import", tag = "agents", params(Saves),
    request_body(content = WorkspaceFiles, content_type = "multipart/form-data"),
    responses((status = 200, description = "What would become of it", body = Imported), (status = 201, body = Imported))
)]
pub async fn import_agent(
    State(state): State<StaffState>,
    tenant: InTenant,
    Query(Saves { save }): Query<Saves>,
    form: Multipart,
) -> Result<(StatusCode, Json<Imported>)> {
    let workspace = take(form).await?;
    if !save {
        return Ok((StatusCode::OK, Json(Imported { workspace, agent: None })));
    }
    let draft = &workspace.draft;
    let by = tenant.signed_in.actor();
    let member = state.agents.staff().add(&tenant.db, &draft.id(), draft, Reason::Imported, by).await?;
    let id = member.profile.info.id.clone();
    super::remember(&state, &tenant, &id, &workspace.memory, &workspace.about_you).await?;
    Ok((StatusCode::CREATED, Json(Imported { workspace, agent: Some(AgentView::of(member)) })))
}

fn page(context: &RequestContext, tenant: &InTenant, error: Option<String>) -> ImportPage {
    ImportPage { frame: tenant.signed_in.frame(context, "Import an agent", Section::Agents), error }
}

/// All files of the form, within what one request may bring.
async fn take(mut form: Multipart) -> Result<Workspace> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        let Some(name) = field.file_name().map(str::to_owned).filter(|name| !name.is_empty()) else { continue };
        let mut content = Vec::new();
        while let Some(chunk) = field.chunk().await.map_err(broken)? {
            bytes += chunk.len();
            if bytes > BYTES {
                return Err(Error::new(Kind::TooLarge, format!("the files have more than {} MiB", BYTES >> 20))
                    .remedy("choose the Markdown files of the workspace's own folder"));
            }
            content.extend_from_slice(&chunk);
        }
        files.push((name, content));
    }
    if files.is_empty() {
        return Err(Error::invalid("no file came with the form").remedy("choose the files of a workspace first"));
    }
    workspace::read(files)
}

fn broken(fault: MultipartError) -> Error {
    Error::invalid("the upload broke off, so nothing was taken").remedy("send it again").because(fault)
}
