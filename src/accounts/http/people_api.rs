//! Members, invitations and one's own account as JSON.

use axum::{Json as Answer, extract::State, http::StatusCode, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{AccountsState, client, session_cookie};
use crate::{
    accounts::{By, Change, EmailAddress, Invitation, Member, Password, Role, SessionInfo, SignedIn},
    http::{
        context::RequestContext,
        extract::{Json, Path},
    },
    support::{
        Error, Result,
        ids::{InvitationId, SessionId, UserId},
    },
    tenants::Slug,
};

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    paths(
        list_members, show_member_api, update_member, delete_member, list_invitations, create_invitation,
        delete_invitation, list_sessions, delete_session, delete_other_sessions, update_password, update_account,
        switch_session
    ),
    tags((name = "members", description = "Who belongs to the organisation, and who is invited"))
)]
pub struct PeopleApi;

/// What to change of a member; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MemberUpdate {
    /// Another role.
    role: Option<Role>,
    /// Keep the person out, or let them in again.
    suspended: Option<bool>,
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewInvitation {
    email: EmailAddress,
    role: Role,
}

/// An invitation that has just been made.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeInvitation {
    #[serde(flatten)]
    invitation: Invitation,
    /// What to give to the person; it cannot be learned again.
    link: String,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
pub struct PasswordUpdate {
    /// The present one.
    current: String,
    /// The new one: at least ten characters, in no list of leaked passwords.
    new: String,
}

/// What to change of one's own account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AccountUpdate {
    /// What one is called.
    name: String,
}

/// Where the session shall go.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SessionSwitch {
    /// The organisation's slug.
    tenant: Slug,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ended {
    ended: usize,
}

/// List the members
#[utoipa::path(get, path = "/api/members", tag = "members", responses((status = 200, body = Vec<Member>)))]
pub async fn list_members(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Answer<Vec<Member>>> {
    let members = state.accounts.members(&signed_in.tenant).await?;
    Ok(Answer(members.into_iter().map(|member| member.as_seen_by(&signed_in)).collect()))
}

/// Show one member
#[utoipa::path(get, path = "/api/members/{user}", tag = "members", params(("user" = UserId, Path)),
    responses((status = 200, body = Member)))]
pub async fn show_member_api(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
) -> Result<Answer<Member>> {
    found(&state, &signed_in, user).await.map(Answer)
}

/// Change a member's role, suspend them, or let them in again
#[utoipa::path(post, path = "/api/members/{user}", tag = "members", params(("user" = UserId, Path)),
    request_body = MemberUpdate, responses((status = 200, body = Member)))]
pub async fn update_member(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
    Json(update): Json<MemberUpdate>,
) -> Result<Answer<Member>> {
    let suspension = update.suspended.map(|on| if on { Change::Suspend } else { Change::Resume });
    for change in update.role.map(Change::Role).into_iter().chain(suspension) {
        state.accounts.change_member(By::Member(&signed_in), &signed_in.tenant, user, change).await?;
    }
    found(&state, &signed_in, user).await.map(Answer)
}

/// Remove a member
#[utoipa::path(delete, path = "/api/members/{user}", tag = "members", params(("user" = UserId, Path)),
    responses((status = 204)))]
pub async fn delete_member(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
) -> Result<StatusCode> {
    state.accounts.change_member(By::Member(&signed_in), &signed_in.tenant, user, Change::Remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List the invitations that can be accepted
#[utoipa::path(get, path = "/api/invitations", tag = "members", responses((status = 200, body = Vec<Invitation>)))]
pub async fn list_invitations(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
) -> Result<Answer<Vec<Invitation>>> {
    Ok(Answer(state.accounts.invitations(&signed_in.tenant).await?))
}

/// Invite somebody
#[utoipa::path(post, path = "/api/invitations", tag = "members", request_body = NewInvitation,
    responses((status = 201, body = MadeInvitation)))]
pub async fn create_invitation(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Json(new): Json<NewInvitation>,
) -> Result<impl IntoResponse> {
    let by = By::Member(&signed_in);
    let (invitation, token) = state.accounts.invite(by, &signed_in.tenant, &new.email, new.role).await?;
    let link = context.kit().link(&format!("/invitation/{}", token.reveal()));
    Ok((StatusCode::CREATED, Answer(MadeInvitation { invitation, link })))
}

/// Revoke an invitation
#[utoipa::path(delete, path = "/api/invitations/{invitation}", tag = "members",
    params(("invitation" = InvitationId, Path)), responses((status = 204)))]
pub async fn delete_invitation(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(invitation): Path<InvitationId>,
) -> Result<StatusCode> {
    state.accounts.revoke_invitation(By::Member(&signed_in), &signed_in.tenant, invitation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List one's sessions
#[utoipa::path(get, path = "/api/account/sessions", tag = "account", responses((status = 200, body = Vec<SessionInfo>)))]
pub async fn list_sessions(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
) -> Result<Answer<Vec<SessionInfo>>> {
    Ok(Answer(state.accounts.sessions_of(&signed_in).await?))
}

/// End one of one's sessions
#[utoipa::path(delete, path = "/api/account/sessions/{session}", tag = "account", params(("session" = SessionId, Path)),
    responses((status = 204)))]
pub async fn delete_session(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(session): Path<SessionId>,
) -> Result<StatusCode> {
    state.accounts.end_session(&signed_in, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all of one's sessions but this one
#[utoipa::path(delete, path = "/api/account/sessions", tag = "account", responses((status = 200, body = Ended)))]
pub async fn delete_other_sessions(State(state): State<AccountsState>, signed_in: SignedIn) -> Result<Answer<Ended>> {
    Ok(Answer(Ended { ended: state.accounts.end_other_sessions(&signed_in).await? }))
}

/// Change one's password
///
/// All other sessions end, and this one gets a new cookie.
#[utoipa::path(post, path = "/api/account/password", tag = "account", request_body = PasswordUpdate,
    responses((status = 204)))]
pub async fn update_password(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Json(update): Json<PasswordUpdate>,
) -> Result<impl IntoResponse> {
    let current = Password::presented(&update.current);
    let session = state.accounts.change_password(&signed_in, current, &update.new, &client(&context)).await?;
    Ok((StatusCode::NO_CONTENT, [session_cookie(&context, &session)?]))
}

/// Change one's name
#[utoipa::path(post, path = "/api/account", tag = "account", request_body = AccountUpdate, responses((status = 204)))]
pub async fn update_account(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Json(update): Json<AccountUpdate>,
) -> Result<StatusCode> {
    state.accounts.rename(&signed_in, &update.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Move the session to another organisation
///
/// It gets a new cookie.
#[utoipa::path(post, path = "/api/session/switch", tag = "account", request_body = SessionSwitch,
    responses((status = 204)))]
pub async fn switch_session(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Json(switch): Json<SessionSwitch>,
) -> Result<impl IntoResponse> {
    let session = state.accounts.switch(&signed_in, &switch.tenant).await?;
    Ok((StatusCode::NO_CONTENT, [session_cookie(&context, &session)?]))
}

async fn found(state: &AccountsState, signed_in: &SignedIn, user: UserId) -> Result<Member> {
    let member = state.accounts.member(&signed_in.tenant, user).await?;
    member.map(|member| member.as_seen_by(signed_in)).ok_or_else(|| Error::not_found("the member"))
}
