//! The pages of an organisation's people.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{AccountsState, is_of_the_server, sessions::Moment};
use crate::{
    accounts::{By, Change, Invitation, Member, Permission, Role, SignedIn},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Path, Query},
        format,
        frame::{Frame, Section},
        page,
    },
    support::{
        Error, Result,
        ids::{InvitationId, UserId},
    },
};

/// Everybody who belongs to the organisation, and who is invited.
#[derive(Template)]
#[template(path = "members.html", config = "web/askama.toml")]
struct MembersPage {
    frame: Frame,
    count: String,
    organisation: String,
    members: Vec<MemberRow>,
    invitations: Vec<InvitationRow>,
    /// Whether the person may change anything here.
    manages: bool,
    /// What has just been done.
    done: Option<&'static str>,
}

struct MemberRow {
    id: UserId,
    name: String,
    email: String,
    role: Role,
    since: Moment,
    seen: Option<Moment>,
    suspended: bool,
    /// Whether they show a code after their password.
    second_factor: bool,
    oneself: bool,
}

struct InvitationRow {
    id: InvitationId,
    email: String,
    role: Role,
    by: String,
    ends: Moment,
    /// Whether the person may take it back.
    revocable: bool,
}

/// One member, and what may be done with them.
#[derive(Template)]
#[template(path = "member.html", config = "web/askama.toml")]
struct MemberPage {
    frame: Frame,
    organisation: String,
    member: MemberRow,
    /// The roles that the person may give, the most first.
    roles: Vec<Role>,
    /// Whether the person may change this member at all.
    reachable: bool,
    error: Option<String>,
}

/// The form for an invitation, and the link when it is made.
#[derive(Template)]
#[template(path = "invite.html", config = "web/askama.toml")]
struct InvitePage {
    frame: Frame,
    organisation: String,
    roles: Vec<Role>,
    email: String,
    role: Role,
    /// The link, once.
    link: Option<String>,
    ends: String,
    error: Option<String>,
}

/// What has just been done.
#[derive(Debug, Deserialize)]
pub struct MembersQuery {
    #[serde(default)]
    done: String,
}

/// The form for an invitation.
#[derive(Debug, Deserialize)]
pub struct InviteForm {
    email: String,
    role: Role,
}

/// The form for another role.
#[derive(Debug, Deserialize)]
pub struct RoleForm {
    role: Role,
}

/// The form that removes a member: their address, typed.
#[derive(Debug, Deserialize)]
pub struct RemoveForm {
    #[serde(default)]
    confirm: String,
}

/// `GET /members`: who belongs to the organisation.
pub async fn show_members(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Query(query): Query<MembersQuery>,
) -> Result<Response> {
    let now = state.accounts.now();
    let manages = signed_in.may(Permission::MembersManage);
    let members = state.accounts.members(&signed_in.tenant).await?;
    let invitations = if manages { state.accounts.invitations(&signed_in.tenant).await? } else { Vec::new() };
    page(&MembersPage {
        frame: signed_in.frame(&context, "Members", Section::Members),
        count: format::count(i64::try_from(members.len()).unwrap_or(i64::MAX), "person"),
        organisation: signed_in.tenant.name.clone(),
        members: members.into_iter().map(|member| member_row(member, &signed_in, now)).collect(),
        invitations: invitations.into_iter().map(|invitation| invitation_row(invitation, &signed_in, now)).collect(),
        manages,
        done: match query.done.as_str() {
            "role" => Some("The role is changed"),
            "suspended" => Some("The person is suspended and signed out"),
            "resumed" => Some("The person may come in again"),
            "removed" => Some("The person is removed and signed out"),
            "revoked" => Some("The invitation is revoked; its link does not work any more"),
            _ => None,
        },
    })
}

/// `GET /members/{user}`: one of them.
pub async fn show_member(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
) -> Result<Response> {
    page(&member_page(&state, &context, &signed_in, user).await?)
}

/// `POST /members/{user}/role`
pub async fn change_role(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
    Form(form): Form<RoleForm>,
) -> Result<Response> {
    change(&state, &context, &signed_in, user, Change::Role(form.role), "role").await
}

/// `POST /members/{user}/suspend`
pub async fn suspend_member(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
) -> Result<Response> {
    change(&state, &context, &signed_in, user, Change::Suspend, "suspended").await
}

/// `POST /members/{user}/resume`
pub async fn resume_member(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
) -> Result<Response> {
    change(&state, &context, &signed_in, user, Change::Resume, "resumed").await
}

/// `POST /members/{user}/remove`: with the person's address as a confirmation.
pub async fn remove_member(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Path(user): Path<UserId>,
    Form(form): Form<RemoveForm>,
) -> Result<Response> {
    let member = state.accounts.member(&signed_in.tenant, user).await?.ok_or_else(|| Error::not_found("the member"))?;
    if !form.confirm.trim().eq_ignore_ascii_case(member.email.as_str()) {
        let error = Error::invalid("The address does not match, and nothing was removed")
            .remedy(format!("Type {} to remove this person", member.email));
        return refused(error, &state, &context, &signed_in, user).await;
    }
    change(&state, &context, &signed_in, user, Change::Remove, "removed").await
}

/// `GET /members/invite`: the form.
pub async fn show_invite(context: RequestContext, signed_in: SignedIn) -> Result<Response> {
    page(&InvitePage::new(&context, &signed_in))
}

/// `POST /members/invite`: makes the invitation and shows its link, once.
pub async fn invite_by_form(
    State(state): State<AccountsState>,
    context: RequestContext,
    signed_in: SignedIn,
    Form(form): Form<InviteForm>,
) -> Result<Response> {
    let made = async {
        let email = form.email.parse()?;
        state.accounts.invite(By::Member(&signed_in), &signed_in.tenant, &email, form.role).await
    };
    let blank = InvitePage { role: form.role, ..InvitePage::new(&context, &signed_in) };
    match made.await {
        Ok((invitation, token)) => page(&InvitePage {
            email: invitation.email.to_string(),
            link: Some(context.kit().link(&format!("/invitation/{}", token.reveal()))),
            ends: invitation.expires_at.format("%-d %B %Y").to_string(),
            ..blank
        }),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Err(error),
        Err(error) => {
            let shown = page(&InvitePage { email: form.email, error: Some(in_sentences(&error)), ..blank })?;
            Ok(form_refused(&error, shown))
        }
    }
}

/// `POST /invitations/{invitation}/revoke`
pub async fn revoke_invitation_by_form(
    State(state): State<AccountsState>,
    signed_in: SignedIn,
    Path(invitation): Path<InvitationId>,
) -> Result<Response> {
    state.accounts.revoke_invitation(By::Member(&signed_in), &signed_in.tenant, invitation).await?;
    Ok(Redirect::to("/members?done=revoked").into_response())
}

impl InvitePage {
    fn new(context: &RequestContext, signed_in: &SignedIn) -> Self {
        Self {
            frame: signed_in.frame(context, "Invite somebody", Section::Members),
            organisation: signed_in.tenant.name.clone(),
            roles: grantable(signed_in),
            email: String::new(),
            role: Role::Member,
            link: None,
            ends: String::new(),
            error: None,
        }
    }
}

async fn change(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    user: UserId,
    change: Change,
    done: &str,
) -> Result<Response> {
    match state.accounts.change_member(By::Member(signed_in), &signed_in.tenant, user, change).await {
        Ok(()) => Ok(Redirect::to(&format!("/members?done={done}")).into_response()),
        Err(error) => refused(error, state, context, signed_in, user).await,
    }
}

/// The member's page again, with what was wrong.
async fn refused(
    error: Error,
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    user: UserId,
) -> Result<Response> {
    if context.wants_json() || is_of_the_server(error.kind()) {
        return Err(error);
    }
    let shown = member_page(state, context, signed_in, user).await?;
    Ok(form_refused(&error, page(&MemberPage { error: Some(in_sentences(&error)), ..shown })?))
}

async fn member_page(
    state: &AccountsState,
    context: &RequestContext,
    signed_in: &SignedIn,
    user: UserId,
) -> Result<MemberPage> {
    let member = state.accounts.member(&signed_in.tenant, user).await?.ok_or_else(|| Error::not_found("the member"))?;
    Ok(MemberPage {
        frame: signed_in.frame(context, member.name.clone(), Section::Members),
        organisation: signed_in.tenant.name.clone(),
        roles: grantable(signed_in),
        reachable: signed_in.role.may_grant(member.role),
        member: member_row(member, signed_in, state.accounts.now()),
        error: None,
    })
}

fn grantable(signed_in: &SignedIn) -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| signed_in.role.may_grant(*role)).collect()
}

fn member_row(member: Member, signed_in: &SignedIn, now: DateTime<Utc>) -> MemberRow {
    MemberRow {
        id: member.user,
        name: member.name,
        email: member.email.to_string(),
        role: member.role,
        since: Moment::ago(now, member.since),
        seen: member.last_seen_at.map(|seen| Moment::ago(now, seen)),
        suspended: member.suspended_at.is_some(),
        second_factor: member.second_factor == Some(true),
        oneself: member.user == signed_in.user.id,
    }
}

fn invitation_row(invitation: Invitation, signed_in: &SignedIn, now: DateTime<Utc>) -> InvitationRow {
    let minutes = (invitation.expires_at - now).num_minutes();
    let told = match (minutes + 59) / 60 {
        ..=1 => "within the hour".to_owned(),
        hours @ 2..48 => format!("in {}", format::count(hours, "hour")),
        hours => format!("in {}", format::count((hours + 12) / 24, "day")),
    };
    InvitationRow {
        id: invitation.id,
        email: invitation.email.to_string(),
        role: invitation.role,
        by: invitation.invited_by.unwrap_or_else(|| "the operator".to_owned()),
        ends: Moment { told, at: format::machine(invitation.expires_at) },
        revocable: signed_in.role.may_grant(invitation.role),
    }
}
