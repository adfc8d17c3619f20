//! Every route of the web server on one screen.

use axum::{Router, extract::FromRef, http::Method, routing::get};
use std::sync::Arc;

use super::{
    egress_api, openapi,
    readiness::Parts,
    table::{Declared, Table},
    wiring::App,
};
use crate::{
    accounts::{
        Permission,
        http::{self as accounts, Access, AccountsState, code, oidc, organisation, people_api, security, tokens},
    },
    agents::{
        approvals::http::{self as approvals, ApprovalsState},
        http::{self as agents, ChatState},
        memory::http::{self as memory, MemoryState},
        policy::http as policy,
        staff::http::{self as staff, StaffState},
    },
    boardroom::http::{self as boardroom, BoardroomState},
    developer::{
        Lanes,
        http::{self as developer, DeveloperState},
    },
    egress::Egress,
    http::{
        assets::show_asset,
        health::{Ready, show_health, show_readiness},
        middleware,
        theme::set_theme,
    },
    integrations::mcp::http::{self as mcp, McpState},
    knowledge::{
        embedding::http as embedding,
        http::{self as knowledge, KnowledgeState},
    },
    models::budget::http::{self as usage, UsageState},
    operator::{
        Operator,
        http::{
            self as operator, OperatorState,
            models::{self, ModelsState},
        },
    },
    runs::http::{self as runs, RunsState},
    secrets::http::{self as secrets, SecretsState},
};

/// Where the API describes itself.
const DESCRIPTION: &str = "/api/openapi.json";

/// The console, its API and the health pages, with the guards round all of them.
pub fn router(app: &App, parts: Parts) -> Router {
    let state = WebState { app: app.clone(), ready: Ready(Arc::new(parts)), lanes: Lanes::default() };
    let (router, declared) = table(state).finish();
    let description = Arc::new(serde_json::to_string(&openapi::describe(&declared)));
    let router = router.route(DESCRIPTION, get(async move || openapi::show(&description)));
    middleware::apply(router, app.kit.clone())
}

/// Every route with who may use it: what `aegis permissions --routes` prints, and the tests try one by one.
pub fn declared(app: &App) -> Vec<Declared> {
    let parts = Parts { postgres: None, databases: app.databases.clone() };
    let mut routes =
        table(WebState { app: app.clone(), ready: Ready(Arc::new(parts)), lanes: Lanes::default() }).finish().1;
    routes.push(Declared { method: Method::GET, path: DESCRIPTION, access: Access::Open });
    routes
}

#[expect(clippy::too_many_lines, reason = "every route on one screen")]
fn table(state: WebState) -> Table<WebState> {
    use Access::{InPerson, Needs, Open, Operator, SignedIn};
    use Permission::{
        AgentsManage, AuditRead, ChatRead, ChatWrite, KnowledgeManage, KnowledgeRead, KnowledgeWrite, MembersManage,
        MembersRead, SecretsManage, SettingsManage, UsageRead,
    };
    Table::new(state)
        // Open to everybody
        .get("/healthz", Open, show_health)
        .get("/readyz", Open, show_readiness)
        .get("/assets/{build}/{*path}", Open, show_asset)
        .get("/sign-in", Open, accounts::show_sign_in)
        .post("/sign-in", Open, accounts::sign_in)
        .get("/sign-in/code", Open, code::show_code)
        .post("/sign-in/code", Open, code::check_code)
        .get("/sign-in/with/{provider}", Open, oidc::depart)
        .get("/sign-in/with/{provider}/callback", Open, oidc::arrive)
        .get("/setup", Open, accounts::show_setup)
        .post("/setup", Open, accounts::complete_setup)
        .get("/invitation/{token}", Open, accounts::show_invitation)
        .post("/invitation/{token}", Open, accounts::accept_invitation)
        .get("/reset/{token}", Open, accounts::show_reset)
        .post("/reset/{token}", Open, accounts::reset_password)
        .post("/theme", Open, set_theme)
        // Oneself
        .get("/", SignedIn, agents::show_start)
        .post("/sign-out", InPerson, accounts::sign_out)
        .get("/api/session", SignedIn, accounts::show_session)
        .post("/switch", InPerson, accounts::switch_tenant)
        .get("/account", InPerson, accounts::show_account)
        .post("/account", InPerson, accounts::rename)
        .post("/account/password", InPerson, accounts::change_password)
        .get("/account/sessions", InPerson, accounts::show_sessions)
        .post("/account/sessions/end-others", InPerson, accounts::end_other_sessions)
        .post("/account/sessions/{session}/end", InPerson, accounts::end_session)
        .get("/account/security", InPerson, security::show_security)
        .post("/account/security/enrol", InPerson, security::enrol)
        .post("/account/security/confirm", InPerson, security::confirm)
        .post("/account/security/codes", InPerson, security::renew_codes)
        .post("/account/security/remove", InPerson, security::remove)
        .post("/account/security/require", Needs(SettingsManage), security::require)
        .post("/account/security/link/{provider}", InPerson, oidc::link)
        .post("/account/security/unlink/{identity}", InPerson, oidc::unlink)
        .get("/api/account/security", InPerson, security::show_standing)
        .post("/api/session/switch", InPerson, people_api::switch_session)
        .post("/api/account", InPerson, people_api::update_account)
        .post("/api/account/password", InPerson, people_api::update_password)
        .get("/api/account/sessions", InPerson, people_api::list_sessions)
        .delete("/api/account/sessions", InPerson, people_api::delete_other_sessions)
        .delete("/api/account/sessions/{session}", InPerson, people_api::delete_session)
        .get("/account/tokens", InPerson, tokens::show_tokens)
        .post("/account/tokens", InPerson, tokens::create_token_by_form)
        .post("/account/tokens/{token}/revoke", InPerson, tokens::revoke_token_by_form)
        .get("/api/account/tokens", InPerson, tokens::list_tokens)
        .post("/api/account/tokens", InPerson, tokens::create_token)
        .delete("/api/account/tokens/{token}", InPerson, tokens::revoke_token)
        .get("/api/tokens", Needs(MembersManage), tokens::list_all_tokens)
        .delete("/api/tokens/{token}", Needs(MembersManage), tokens::revoke_any_token)
        // Members
        .get("/members", Needs(MembersRead), accounts::show_members)
        .get("/members/invite", Needs(MembersManage), accounts::show_invite)
        .post("/members/invite", Needs(MembersManage), accounts::invite_by_form)
        .get("/members/{user}", Needs(MembersManage), accounts::show_member)
        .post("/members/{user}/role", Needs(MembersManage), accounts::change_role)
        .post("/members/{user}/suspend", Needs(MembersManage), accounts::suspend_member)
        .post("/members/{user}/resume", Needs(MembersManage), accounts::resume_member)
        .post("/members/{user}/remove", Needs(MembersManage), accounts::remove_member)
        .post("/invitations/{invitation}/revoke", Needs(MembersManage), accounts::revoke_invitation_by_form)
        .get("/api/members", Needs(MembersRead), people_api::list_members)
        .get("/api/members/{user}", Needs(MembersRead), people_api::show_member_api)
        .post("/api/members/{user}", Needs(MembersManage), people_api::update_member)
        .delete("/api/members/{user}", Needs(MembersManage), people_api::delete_member)
        .get("/api/invitations", Needs(MembersManage), people_api::list_invitations)
        .post("/api/invitations", Needs(MembersManage), people_api::create_invitation)
        .delete("/api/invitations/{invitation}", Needs(MembersManage), people_api::delete_invitation)
        // Chat
        .get("/chat", Needs(ChatRead), agents::show_new_chat)
        .post("/chat", Needs(ChatWrite), agents::ask_by_form)
        .get("/chat/{conversation}", Needs(ChatRead), agents::show_conversation)
        .post("/api/chat", Needs(ChatWrite), agents::ask)
        .get("/api/chat/conversations", Needs(ChatRead), agents::list_conversations)
        .post("/chat/{conversation}/delete", Needs(ChatWrite), agents::delete_conversation_by_form)
        .delete("/api/chat/conversations/{conversation}", Needs(ChatWrite), agents::delete_conversation)
        .post("/api/chat/runs/{run}/cancel", Needs(ChatWrite), agents::cancel_run)
        // Boardroom
        .get("/boardroom", Needs(ChatRead), boardroom::show_boardroom)
        .post("/boardroom", Needs(ChatWrite), boardroom::call_by_form)
        .get("/boardroom/{meeting}", Needs(ChatRead), boardroom::show_meeting)
        .get("/boardroom/{meeting}/print", Needs(ChatRead), boardroom::print_meeting)
        .post("/boardroom/{meeting}/stop", Needs(ChatWrite), boardroom::stop_by_form)
        .post("/boardroom/{meeting}/share", Needs(ChatWrite), boardroom::share_by_form)
        .post("/boardroom/{meeting}/delete", Needs(ChatWrite), boardroom::delete_by_form)
        .get("/api/boardroom", Needs(ChatRead), boardroom::list_meetings)
        .post("/api/boardroom", Needs(ChatWrite), boardroom::call_meeting)
        .get("/api/boardroom/{meeting}", Needs(ChatRead), boardroom::show_meeting_as_json)
        .delete("/api/boardroom/{meeting}", Needs(ChatWrite), boardroom::delete_meeting)
        .get("/api/boardroom/{meeting}/events", Needs(ChatRead), boardroom::watch_meeting)
        .get("/api/boardroom/{meeting}/export", Needs(ChatRead), boardroom::export_meeting)
        .post("/api/boardroom/{meeting}/share", Needs(ChatWrite), boardroom::share_meeting)
        .post("/api/boardroom/{meeting}/stop", Needs(ChatWrite), boardroom::stop_meeting)
        .get("/api/chat/runs/{run}/events", Needs(ChatRead), agents::watch_run)
        // Agents
        .get("/agents", Needs(ChatRead), staff::show_agents)
        .get("/agents/new", Needs(AgentsManage), staff::show_new_agent)
        .post("/agents/new", Needs(AgentsManage), staff::add_agent_by_form)
        .get("/agents/import", Needs(AgentsManage), staff::show_import)
        .upload("/agents/import", Needs(AgentsManage), staff::import_by_form)
        .get("/agents/{agent}", Needs(ChatRead), staff::show_agent)
        .post("/agents/{agent}", Needs(AgentsManage), staff::change_agent_by_form)
        .post("/agents/{agent}/restore", Needs(AgentsManage), staff::restore_agent_by_form)
        .post("/agents/{agent}/state", Needs(AgentsManage), staff::set_agent_state_by_form)
        .get("/api/agents", Needs(ChatRead), staff::list_agents)
        .post("/api/agents", Needs(AgentsManage), staff::create_agent)
        .upload("/api/agents/import", Needs(AgentsManage), staff::import_agent)
        .get("/api/agents/{agent}", Needs(ChatRead), staff::show_agent_as_json)
        .post("/api/agents/{agent}", Needs(AgentsManage), staff::change_agent)
        .get("/api/agents/{agent}/versions", Needs(ChatRead), staff::list_agent_versions)
        .post("/api/agents/{agent}/restore", Needs(AgentsManage), staff::restore_agent)
        .post("/api/agents/{agent}/state", Needs(AgentsManage), staff::set_agent_state)
        // What agents remember
        .get("/memory", Needs(ChatRead), memory::show_memory)
        .post("/memory", Needs(ChatRead), memory::add_memory_by_form)
        .post("/memory/forget-everything", Needs(ChatRead), memory::forget_everything_by_form)
        .post("/memory/{memory}", Needs(ChatRead), memory::change_memory_by_form)
        .get("/api/memory", Needs(ChatRead), memory::list_memories)
        .post("/api/memory", Needs(ChatWrite), memory::add_memory)
        .delete("/api/memory", Needs(ChatWrite), memory::forget_everything)
        .post("/api/memory/{memory}", Needs(ChatWrite), memory::change_memory)
        .delete("/api/memory/{memory}", Needs(ChatWrite), memory::forget_memory)
        .post("/api/memory/{memory}/confirm", Needs(ChatWrite), memory::confirm_memory)
        // What agents may do
        .get("/approvals", Needs(ChatWrite), approvals::show_approvals)
        .post("/approvals/{approval}", Needs(ChatWrite), approvals::decide_by_form)
        .get("/api/approvals", Needs(ChatWrite), approvals::list_approvals)
        .get("/api/approvals/{approval}", Needs(ChatWrite), approvals::show_approval)
        .post("/api/approvals/{approval}", Needs(ChatWrite), approvals::decide_approval)
        .get("/settings/tools", Needs(AgentsManage), policy::show_tools)
        .post("/settings/tools", Needs(AgentsManage), policy::set_policy_by_form)
        .get("/api/tools", Needs(AgentsManage), policy::list_tools)
        .post("/api/tools/policies", Needs(AgentsManage), policy::set_policy)
        .get("/settings/mcp", Needs(AgentsManage), mcp::show_mcp)
        .post("/settings/mcp", Needs(AgentsManage), mcp::change_mcp_by_form)
        .get("/api/mcp", Needs(AgentsManage), mcp::list_mcp_servers)
        .post("/api/mcp", Needs(AgentsManage), mcp::add_mcp_server)
        .delete("/api/mcp/{server}", Needs(AgentsManage), mcp::remove_mcp_server)
        .post("/api/mcp/{server}/look", Needs(AgentsManage), mcp::look_at_mcp_server)
        .post("/api/mcp/{server}/tools", Needs(AgentsManage), mcp::choose_mcp_tool)
        // For programs, as OpenAI's clients know it
        .get("/v1/models", Needs(ChatWrite), developer::list_models)
        .get("/v1/models/{model}", Needs(ChatWrite), developer::show_model)
        .post("/v1/chat/completions", Needs(ChatWrite), developer::complete_chat)
        .post("/v1/responses", Needs(ChatWrite), developer::create_response)
        .post("/v1/embeddings", Needs(KnowledgeRead), developer::embed)
        .post("/mcp", SignedIn, developer::serve_mcp)
        // Knowledge
        .get("/knowledge", Needs(KnowledgeRead), knowledge::show_knowledge)
        .upload("/knowledge", Needs(KnowledgeWrite), knowledge::add_documents_by_form)
        .get("/knowledge/collections", Needs(KnowledgeRead), knowledge::show_collections)
        .post("/knowledge/collections", Needs(KnowledgeManage), knowledge::create_collection_by_form)
        .post("/knowledge/collections/{collection}", Needs(KnowledgeManage), knowledge::change_collection_by_form)
        .post(
            "/knowledge/collections/{collection}/delete",
            Needs(KnowledgeManage),
            knowledge::remove_collection_by_form,
        )
        .get("/api/knowledge/collections", Needs(KnowledgeRead), knowledge::list_collections)
        .post("/api/knowledge/collections", Needs(KnowledgeManage), knowledge::create_collection)
        .post("/api/knowledge/collections/{collection}", Needs(KnowledgeManage), knowledge::change_collection)
        .delete("/api/knowledge/collections/{collection}", Needs(KnowledgeManage), knowledge::remove_collection)
        .post("/knowledge/retry", Needs(KnowledgeWrite), knowledge::retry_failed_by_form)
        .get("/knowledge/{document}", Needs(KnowledgeRead), knowledge::show_document)
        .post("/knowledge/{document}/delete", Needs(KnowledgeWrite), knowledge::delete_document_by_form)
        .post("/knowledge/{document}/cancel", Needs(KnowledgeWrite), knowledge::cancel_document_by_form)
        .post("/knowledge/{document}/retry", Needs(KnowledgeWrite), knowledge::retry_document_by_form)
        .get("/knowledge/{document}/original", Needs(KnowledgeRead), knowledge::download_original)
        .get("/api/knowledge/documents", Needs(KnowledgeRead), knowledge::list_documents)
        .upload("/api/knowledge/documents", Needs(KnowledgeWrite), knowledge::add_documents)
        .post("/api/knowledge/retry", Needs(KnowledgeWrite), knowledge::retry_failed)
        .post("/api/knowledge/documents/{document}/cancel", Needs(KnowledgeWrite), knowledge::cancel_document)
        .post("/api/knowledge/documents/{document}/retry", Needs(KnowledgeWrite), knowledge::retry_document)
        .delete("/api/knowledge/documents/{document}", Needs(KnowledgeWrite), knowledge::delete_document)
        .post("/api/uploads", Needs(KnowledgeWrite), knowledge::begin_upload)
        .get("/api/uploads/{upload}", Needs(KnowledgeWrite), knowledge::show_upload)
        .patch("/api/uploads/{upload}", Needs(KnowledgeWrite), knowledge::append_upload)
        .delete("/api/uploads/{upload}", Needs(KnowledgeWrite), knowledge::drop_upload)
        .get("/api/knowledge/search", Needs(KnowledgeRead), knowledge::search_passages)
        .get("/api/knowledge/passages/{passage}", Needs(KnowledgeRead), knowledge::show_passage)
        .get("/settings/embedding", Needs(AgentsManage), embedding::show_embedding)
        .post("/settings/embedding", Needs(AgentsManage), embedding::change_embedding_by_form)
        .get("/api/embedding", Needs(AgentsManage), embedding::show_embedding_as_json)
        .post("/api/embedding", Needs(AgentsManage), embedding::change_embedding)
        .post("/api/embedding/cancel", Needs(AgentsManage), embedding::cancel_reembedding)
        // Usage
        .get("/usage", Needs(UsageRead), usage::show_usage)
        .get("/usage.csv", Needs(UsageRead), usage::download_usage)
        .post("/usage/budgets", Needs(SettingsManage), usage::set_budget_by_form)
        .get("/api/usage", Needs(UsageRead), usage::show_usage_as_json)
        .post("/api/budgets", Needs(SettingsManage), usage::set_budget)
        // Audit
        .get("/audit", Needs(AuditRead), runs::show_audit)
        .post("/audit/verify", Needs(AuditRead), runs::verify_by_form)
        .get("/audit/entries/{seq}", Needs(AuditRead), runs::show_entry)
        .get("/audit/runs/{run}", Needs(AuditRead), runs::show_run)
        .get("/api/audit/entries", Needs(AuditRead), runs::list_entries)
        .get("/api/audit/runs/{run}", Needs(AuditRead), runs::list_run)
        .post("/api/audit/verify", Needs(AuditRead), runs::verify_log)
        .get("/api/audit/export", Needs(AuditRead), runs::export_entries)
        // Secrets
        .get("/settings/secrets", Needs(SecretsManage), secrets::show_secrets)
        .post("/settings/secrets", Needs(SecretsManage), secrets::set_secret_by_form)
        .post("/settings/secrets/{name}/delete", Needs(SecretsManage), secrets::delete_secret_by_form)
        .get("/api/secrets", Needs(SecretsManage), secrets::list_secrets)
        .post("/api/secrets", Needs(SecretsManage), secrets::set_secret)
        .delete("/api/secrets/{name}", Needs(SecretsManage), secrets::delete_secret)
        // The organisation
        .get("/settings", Needs(SecretsManage), organisation::show_settings)
        .post("/settings", Needs(SettingsManage), organisation::rename_organisation_by_form)
        .get("/api/settings", SignedIn, organisation::show_organisation)
        .post("/api/settings", Needs(SettingsManage), organisation::rename_organisation)
        // The appliance
        .get("/operator/tenants", Operator, operator::show_tenants)
        .post("/operator/tenants", Operator, operator::create_tenant_by_form)
        .get("/operator/tenants/{tenant}", Operator, operator::show_tenant)
        .post("/operator/tenants/{tenant}/rename", Operator, operator::rename_tenant_by_form)
        .post("/operator/tenants/{tenant}/invite", Operator, operator::invite_owner_by_form)
        .post("/operator/tenants/{tenant}/suspend", Operator, operator::suspend_tenant_by_form)
        .post("/operator/tenants/{tenant}/resume", Operator, operator::resume_tenant_by_form)
        .post("/operator/tenants/{tenant}/delete", Operator, operator::delete_tenant_by_form)
        .post("/operator/tenants/{tenant}/undelete", Operator, operator::undelete_tenant_by_form)
        .get("/api/operator/tenants", Operator, operator::list_tenants)
        .post("/api/operator/tenants", Operator, operator::create_tenant)
        .get("/api/operator/tenants/{tenant}", Operator, operator::show_tenant_as_json)
        .post("/api/operator/tenants/{tenant}/rename", Operator, operator::rename_tenant)
        .post("/api/operator/tenants/{tenant}/suspend", Operator, operator::suspend_tenant)
        .post("/api/operator/tenants/{tenant}/resume", Operator, operator::resume_tenant)
        .post("/api/operator/tenants/{tenant}/delete", Operator, operator::delete_tenant)
        .post("/api/operator/tenants/{tenant}/undelete", Operator, operator::undelete_tenant)
        .get("/operator/models", Operator, models::show_models)
        .get("/operator/models/progress", Operator, models::watch_pulls)
        .post("/operator/models/pull", Operator, models::pull_model_by_form)
        .post("/operator/models/stop", Operator, models::stop_pull_by_form)
        .post("/operator/models/delete", Operator, models::delete_model_by_form)
        .get("/api/operator/models", Operator, models::list_models)
        .post("/api/operator/models/pull", Operator, models::pull_model)
        .post("/api/operator/models/stop", Operator, models::stop_pull)
        .post("/api/operator/models/delete", Operator, models::delete_model)
        .get("/api/egress", Operator, egress_api::list_allowed)
}

/// What the handlers take out of the router's state.
#[derive(Clone)]
struct WebState {
    app: App,
    ready: Ready,
    lanes: Lanes,
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

impl FromRef<WebState> for DeveloperState {
    fn from_ref(state: &WebState) -> Self {
        let App { agents, knowledge, embedding, clock, .. } = &state.app;
        Self {
            agents: agents.clone(),
            knowledge: knowledge.clone(),
            embedding: embedding.clone(),
            lanes: state.lanes.clone(),
            clock: clock.clone(),
        }
    }
}

impl FromRef<WebState> for StaffState {
    fn from_ref(state: &WebState) -> Self {
        let App { agents, memory, clock, .. } = &state.app;
        Self { agents: agents.clone(), memory: memory.clone(), clock: clock.clone() }
    }
}

impl FromRef<WebState> for MemoryState {
    fn from_ref(state: &WebState) -> Self {
        let App { memory, agents, clock, .. } = &state.app;
        Self { memory: memory.clone(), agents: agents.clone(), clock: clock.clone() }
    }
}

impl FromRef<WebState> for McpState {
    fn from_ref(state: &WebState) -> Self {
        Self { servers: state.app.mcp.clone(), agents: state.app.agents.clone() }
    }
}

impl FromRef<WebState> for BoardroomState {
    fn from_ref(state: &WebState) -> Self {
        Self { boardroom: state.app.boardroom.clone(), clock: state.app.clock.clone() }
    }
}

impl FromRef<WebState> for ApprovalsState {
    fn from_ref(state: &WebState) -> Self {
        let App { agents, accounts, clock, .. } = &state.app;
        Self { agents: agents.clone(), accounts: accounts.clone(), clock: clock.clone() }
    }
}

impl FromRef<WebState> for RunsState {
    fn from_ref(state: &WebState) -> Self {
        Self { runs: state.app.runs.clone() }
    }
}

impl FromRef<WebState> for UsageState {
    fn from_ref(state: &WebState) -> Self {
        Self { budgets: state.app.budgets.clone(), staff: Arc::new(state.app.agents.clone()) }
    }
}

impl FromRef<WebState> for KnowledgeState {
    fn from_ref(state: &WebState) -> Self {
        let App { agents, knowledge, clock, config, .. } = &state.app;
        let max_file_bytes = config.knowledge.max_file_mib << 20;
        Self {
            knowledge: knowledge.clone(),
            clock: clock.clone(),
            colleagues: Arc::new(agents.clone()),
            max_file_bytes,
        }
    }
}

impl FromRef<WebState> for SecretsState {
    fn from_ref(state: &WebState) -> Self {
        Self { secrets: state.app.secrets.clone(), clock: state.app.clock.clone() }
    }
}

impl FromRef<WebState> for OperatorState {
    fn from_ref(state: &WebState) -> Self {
        let App { tenants, databases, accounts, clock, config, .. } = &state.app;
        Self {
            operator: Operator::new(tenants.clone(), databases.clone()),
            tenants: tenants.clone(),
            accounts: accounts.clone(),
            grace_days: config.tenants.deletion_grace_days,
            clock: clock.clone(),
        }
    }
}

impl FromRef<WebState> for ModelsState {
    fn from_ref(state: &WebState) -> Self {
        Self { catalogue: state.app.catalogue.clone(), clock: state.app.clock.clone() }
    }
}

impl FromRef<WebState> for Egress {
    fn from_ref(state: &WebState) -> Self {
        state.app.egress.clone()
    }
}

impl FromRef<WebState> for Ready {
    fn from_ref(state: &WebState) -> Self {
        state.ready.clone()
    }
}
