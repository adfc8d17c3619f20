//! The chat: its pages, which work without script, and its API.

mod api;
mod view;

use std::{sync::Arc, time::Duration};

use askama::Template;
use async_trait::async_trait;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use futures::StreamExt;
use serde::Deserialize;

pub use api::{ChatApi, ask, cancel_run, delete_conversation, list_conversations, watch_run};
use view::{Colleague, Example, Listed, Turn};

use super::{Agents, Ask, Conversation, Thread, approvals};
use crate::{
    accounts::{Role, http::InTenant},
    audit::Actor,
    db::TenantDb,
    http::{
        self,
        context::RequestContext,
        extract::{Form, Path, Query},
        frame::{Frame, Section},
    },
    support::{Error, Result, clock::SharedClock, ids::ConversationId},
};

/// How long a form without script waits for the answer. After that it is shown the conversation as it is, and the run
/// goes on; shorter than the deadline of a request.
const FORM_PATIENCE: Duration = Duration::from_secs(50);

/// What the handlers of the chat need.
#[derive(Clone)]
pub struct ChatState {
    /// The use cases.
    pub agents: Agents,
    /// What there is to ask about.
    pub shelf: Arc<dyn Shelf>,
    /// The time.
    pub clock: SharedClock,
}

/// What an empty conversation says about the knowledge base. It is told in `app`; agents do not know the knowledge base.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// How many documents somebody of this role can search, and the titles of the newest few.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn shelf(&self, db: &TenantDb, role: Role) -> Result<(usize, Vec<String>)>;
}

/// The chat, with a conversation or before there is one.
#[derive(Template)]
#[template(path = "chat.html", config = "web/askama.toml")]
struct ChatPage {
    frame: Frame,
    /// The conversation's id; empty before there is one.
    conversation: String,
    conversations: Vec<Listed>,
    turns: Vec<Turn>,
    /// Who can be asked; the one who is asked unless the person chooses is marked.
    agents: Vec<Colleague>,
    /// The one who is marked.
    agent: Colleague,
    /// Whether the last question has no answer yet.
    waiting: bool,
    /// How many documents can be asked about.
    documents: usize,
    examples: Vec<Example>,
    /// What stands in the box already.
    draft: String,
}

/// `?ask=…&agent=luna`
#[derive(Deserialize)]
pub struct Proposal {
    /// A question to put into the box.
    #[serde(default)]
    ask: String,
    /// Whom to ask.
    #[serde(default)]
    agent: String,
}

/// `GET /`: the chat is where people start.
pub async fn show_start() -> Redirect {
    Redirect::to("/chat")
}

/// `GET /chat`
pub async fn show_new_chat(
    State(state): State<ChatState>,
    context: RequestContext,
    tenant: InTenant,
    Query(proposal): Query<Proposal>,
) -> Result<Response> {
    let summaries = state.agents.conversations(&tenant.db, tenant.signed_in.user.id).await?;
    let staff = state.agents.agents(&tenant.db).await?;
    let (agents, agent) = view::picker(&staff, &proposal.agent);
    let (documents, titles) = state.shelf.shelf(&tenant.db, tenant.signed_in.role).await?;
    let mut frame = tenant.signed_in.frame(&context, "New conversation", Section::Chat);
    frame.waiting = state.agents.approvals_waiting(&tenant.db, approvals::http::decider(&tenant.signed_in)).await?;
    http::page(&ChatPage {
        frame,
        conversation: String::new(),
        conversations: view::list(summaries, None, state.clock.now()),
        turns: Vec::new(),
        agents,
        agent,
        waiting: false,
        documents,
        examples: view::examples(&titles),
        draft: proposal.ask,
    })
}

/// `GET /chat/{conversation}`
pub async fn show_conversation(
    State(state): State<ChatState>,
    context: RequestContext,
    tenant: InTenant,
    Path(id): Path<ConversationId>,
) -> Result<Response> {
    let conversation = find(&state, &tenant, id).await?;
    let summaries = state.agents.conversations(&tenant.db, tenant.signed_in.user.id).await?;
    let now = state.clock.now();
    let staff = state.agents.staff().members(&tenant.db).await?;
    let known: Vec<_> = staff.iter().map(|member| member.profile.info.clone()).collect();
    let mut turns = view::turns(&conversation, &known, now);
    for compaction in state.agents.compactions(&tenant.db, id).await? {
        view::cut(&mut turns, &conversation, compaction);
    }
    let answered = conversation.messages.iter().rev().find_map(|message| message.agent.as_deref());
    let enabled: Vec<_> = staff.into_iter().filter(|member| member.enabled).map(|member| member.profile.info).collect();
    let (agents, agent) = view::picker(&enabled, answered.unwrap_or(&conversation.agent));
    let by = approvals::http::decider(&tenant.signed_in);
    let asked = state.agents.approvals_in(&tenant.db, id).await?;
    if !asked.is_empty() {
        for approval in asked {
            if let Some(turn) = turns.iter_mut().find(|turn| turn.id == approval.run.to_string()) {
                turn.cards.push(approvals::http::view::card(approval, by, &known, &[], now));
            }
        }
    }
    let mut frame = tenant.signed_in.frame(&context, &conversation.title, Section::Chat);
    frame.waiting = state.agents.approvals_waiting(&tenant.db, by).await?;
    http::page(&ChatPage {
        frame,
        conversation: id.to_string(),
        conversations: view::list(summaries, Some(id), now),
        agents,
        agent,
        waiting: turns.last().is_some_and(|turn| turn.answer.is_none() && turn.cards.is_empty()),
        turns,
        documents: 0,
        examples: Vec::new(),
        draft: String::new(),
    })
}

/// A question as a form sends it.
#[derive(Deserialize)]
pub struct QuestionForm {
    question: String,
    agent: Option<String>,
    conversation: Option<ConversationId>,
}

/// `POST /chat`: a question from a browser without script. The answer is on the page that it is sent to.
pub async fn ask_by_form(
    State(state): State<ChatState>,
    tenant: InTenant,
    Form(form): Form<QuestionForm>,
) -> Result<Response> {
    let run = start(&state, &tenant, form.agent, form.question, form.conversation).await?;
    let conversation = run.conversation.map(|id| id.to_string()).unwrap_or_default();
    let drained = tokio::spawn(run.events.for_each(|_| std::future::ready(())));
    let _ = tokio::time::timeout(FORM_PATIENCE, drained).await;
    Ok(Redirect::to(&format!("/chat/{conversation}")).into_response())
}

/// `POST /chat/{conversation}/delete`
pub async fn delete_conversation_by_form(
    State(state): State<ChatState>,
    tenant: InTenant,
    Path(id): Path<ConversationId>,
) -> Result<Response> {
    state.agents.delete_conversation(&tenant.db, tenant.signed_in.user.id, id).await?;
    Ok(Redirect::to("/chat").into_response())
}

async fn find(state: &ChatState, tenant: &InTenant, id: ConversationId) -> Result<Conversation> {
    let found = state.agents.conversation(&tenant.db, tenant.signed_in.user.id, id).await?;
    found.ok_or_else(|| Error::not_found("the conversation"))
}

async fn start(
    state: &ChatState,
    tenant: &InTenant,
    agent: Option<String>,
    question: String,
    conversation: Option<ConversationId>,
) -> Result<super::Run> {
    let user = tenant.signed_in.user.id;
    let agent = match agent.filter(|agent| !agent.is_empty()) {
        Some(agent) => agent,
        None => by_default(state, tenant, conversation).await?,
    };
    let ask = Ask { thread: Thread::from(conversation), ..Ask::new(agent, question, Actor::User { id: user }) };
    state.agents.ask(&tenant.db, ask).await
}

/// Who is asked when nobody is named: whom the conversation began with, if they can still be asked, or the first of all.
async fn by_default(state: &ChatState, tenant: &InTenant, conversation: Option<ConversationId>) -> Result<String> {
    let agents = state.agents.agents(&tenant.db).await?;
    if let Some(id) = conversation {
        let began_with = find(state, tenant, id).await?.agent;
        if agents.iter().any(|agent| agent.id == began_with) {
            return Ok(began_with);
        }
    }
    agents.into_iter().next().map(|agent| agent.id).ok_or_else(|| Error::not_found("an agent"))
}
