//! The catalogue of everything that is written into an audit log: one line for each action.
//!
//! A use case that changes something, or calls something, adds its action to the list below and gives it to
//! [`super::NewEntry`]; an action that is not in the catalogue cannot be written. An action is named `noun.verb` in
//! the past, stands under the room that writes it, and says what `subject` is.
//!
//! What goes into `detail` is common to all:
//!
//! | field | meaning |
//! |---|---|
//! | `outcome` | `done` when it is left out; `failed`, `refused` or `stopped` |
//! | `error`, `reason` or `problem` | why it was not done, in a sentence for a person |
//! | `duration_ms` | how long it took, where it takes time: the entry is written at the end |
//! | everything else | what was asked, what came of it, what it was before |
//!
//! Never a secret, a password, a token or a key: not in clear, not hashed, not shortened.
//!
//! An applied name is never changed: the logs of the past have it.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! catalogue {
    ($($action:ident $name:literal of $subject:literal: $meaning:literal;)*) => {
        /// Something that an entry says was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = concat!("`", $name, "` of ", $subject, ": ", $meaning, ".")] $action,)*
        }

        impl Action {
            /// Every action, by rooms.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// Its name in the log: `document.added`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$action => $name,)* }
            }

            /// What its subject is: `the document`.
            pub fn subject(self) -> &'static str {
                match self { $(Self::$action => $subject,)* }
            }

            /// What it means, as a person reads it.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$action => $meaning,)* }
            }
        }
    };
}

catalogue! {
    // ── Signing in and out (accounts) ──
    SessionStarted "session.started" of "the session": "somebody signed in; from which address, with which browser";
    SessionEnded "session.ended" of "the session": "somebody signed out";
    SignInFailed "sign_in.failed" of "the account": "somebody tried to sign in and was refused; from which address";

    // ── Second factor, OpenID Connect, API tokens (accounts) ──
    SecondFactorEnabled "second_factor.enabled" of "the account": "somebody set up a second factor";
    SecondFactorRemoved "second_factor.removed" of "the account": "a second factor was taken away, by its owner or by the operator";
    SecondFactorFailed "second_factor.failed" of "the account": "the password was right and the code was not; from which address";
    SecondFactorRequired "second_factor.required" of "the organisation": "whether members must have a second factor was changed";
    RecoveryCodesRenewed "recovery_codes.renewed" of "the account": "new recovery codes took the place of the old ones";
    RecoveryCodeUsed "recovery_code.used" of "the account": "somebody came in with a recovery code; how many are left";
    IdentityLinked "identity.linked" of "the identity": "an identity at another sign-in page was linked to an account; at which, and by what right";
    IdentityUnlinked "identity.unlinked" of "the identity": "an identity at another sign-in page was unlinked";
    TokenCreated "token.created" of "the API token": "an API token was made; its name, whose it is, what it carries and when it ends";
    TokenRevoked "token.revoked" of "the API token": "an API token was revoked; its name and whose it was";

    // ── People and their roles (accounts) ──
    UserCreated "user.created" of "the account": "a person became a member; with which role, with a new account or not, by which invitation";
    UserRenamed "user.renamed" of "the account": "a person calls themselves something else; the names before and after";
    MemberInvited "member.invited" of "the invitation": "somebody was invited; who, with which role, until when";
    InvitationRevoked "invitation.revoked" of "the invitation": "it was taken back; whom it was for";
    MemberRoleChanged "member.role_changed" of "the account": "a member got another role; the roles before and after";
    MemberSuspended "member.suspended" of "the account": "a member is kept out, here or everywhere; their sessions ended";
    MemberResumed "member.resumed" of "the account": "a member is let in again";
    MemberRemoved "member.removed" of "the account": "a person is no member any more, or has no account any more";
    OperatorChanged "operator.changed" of "the account": "a member became an operator of the appliance, or is none any more";
    PasswordChanged "password.changed" of "the account": "a member changed their password; their other sessions ended";
    PasswordResetOffered "password_reset.offered" of "the account": "the operator made a link for a new password; until when it is good";
    PasswordReset "password.reset" of "the account": "a member set a new password by such a link; all their sessions ended";

    // ── Organisations (tenants); in the appliance's log too, where they are known by their ids alone ──
    TenantCreated "tenant.created" of "the organisation": "it was created; under which names";
    TenantRenamed "tenant.renamed" of "the organisation": "its name, its short name, or both were changed; the old and the new";
    TenantSuspended "tenant.suspended" of "the organisation": "it was taken out of service; why";
    TenantResumed "tenant.resumed" of "the organisation": "it is in service again; what happened to it meanwhile";
    TenantDeletionRequested "tenant.deletion_requested" of "the organisation": "it is to be removed with everything in it; after which moment";
    TenantUndeleted "tenant.undeleted" of "the organisation": "it is not to be removed after all; what happened to it meanwhile";
    TenantDeleted "tenant.deleted" of "the organisation": "it and everything that was its was removed";

    // ── Secrets and keys (secrets) ──
    SecretSet "secret.set" of "the secret": "a value was given to a name; whether in place of another one";
    SecretUsed "secret.used" of "the secret": "a program was given the value; what for";
    SecretDeleted "secret.deleted" of "the secret": "name and value were removed for good";
    SecretKeyRotated "secret.key_rotated" of "nothing": "all values were encrypted to a new key; how many, its public half";
    SecretKeyResealed "secret.key_resealed" of "nothing": "the key of the values was sealed to a new key of the appliance; its public half";

    // ── Outbound requests (egress) ──
    EgressRequested "egress.requested" of "the host and port": "a request left the appliance, or was refused; what for, the status, bytes and time, never its content";

    // ── Documents (knowledge) ──
    DocumentAdded "document.added" of "the document": "a file was taken in; its name, size and hash";
    DocumentIngested "document.ingested" of "the document": "it was read and can be searched; how long that took";
    DocumentFailed "document.failed" of "the document": "it could not be read, and why";
    DocumentRemoved "document.removed" of "the document": "it was deleted for good, with which of its versions";
    DocumentSuperseded "document.superseded" of "the document": "a newer version took its place; which one";
    DocumentCancelled "document.cancelled" of "the document": "somebody stopped it before it could be searched";
    CollectionCreated "collection.created" of "the collection": "somebody made a collection; its name and who reads it";
    CollectionChanged "collection.changed" of "the collection": "its name or its rights were changed, and what they were before";
    CollectionRemoved "collection.removed" of "the collection": "an empty collection was removed; its name";

    ReembeddingStarted "reembedding.started" of "the model": "documents are to be searched by another embedding model; by which until then";
    ReembeddingFinished "reembedding.finished" of "the model": "all passages have its vectors, and are searched by it from now on";
    ReembeddingCancelled "reembedding.cancelled" of "the model": "somebody stopped the change to it; the model before it stays";
    ReembeddingFailed "reembedding.failed" of "the model": "the change to it was given up, and why; the model before it stays";

    // ── Runs of agents, with their models and tools (agents) ──
    RunStarted "run.started" of "the agent": "a question was asked; the question, the conversation before it, what is searched for";
    KnowledgeSearched "knowledge.searched" of "nothing": "a search was made for the model; the query, the passages with their scores";
    ModelCalled "model.called" of "the model": "a model was asked; the whole request, the whole answer, tokens, who was asked before in vain";
    ModelFailed "model.failed" of "nothing": "no model could be asked; the request, and everybody who was asked in vain";
    ToolCalled "tool.called" of "the tool": "a tool was called by the model; arguments, result, passages with their scores";
    RunFinished "run.finished" of "the agent": "the answer as it was shown, its citations, what was dropped from it";
    RunFailed "run.failed" of "the agent": "there was no complete answer, why, and what there was until then";
    RunStopped "run.stopped" of "the agent": "somebody, or the end of the process, stopped the run; what there was until then";

    RunResumed "run.resumed" of "the agent": "the run went on after a crash, a restart or a decision; why, and what was known of it";
    RunTainted "run.tainted" of "the agent": "the run has read what others wrote, and asks before it reaches outside; what it has read";
    RunReplayed "run.replayed" of "the run": "it was run again from what was recorded; whether it came out the same, and the first difference";

    // ── The staff (agents) ──
    AgentCreated "agent.created" of "the agent": "somebody added an agent; its name, tools and route, how long its profile is";
    AgentChanged "agent.changed" of "the agent": "somebody edited an agent or switched it on; which version came of it, and what differs";
    AgentDisabled "agent.disabled" of "the agent": "somebody switched an agent off; it cannot be asked any more";
    AgentRestored "agent.restored" of "the agent": "an earlier version of an agent holds again; which one";
    AgentImported "agent.imported" of "the agent": "an agent was taken over from another workspace";

    // ── Memory (agents): never with the text itself, which can be forgotten, as an entry cannot ──
    MemoryAdded "memory.added" of "the memory": "something was written down; about whom, by whom, from where, how long it is, never the text";
    MemoryChanged "memory.changed" of "the memory": "something says something else now; about whom, by whom, from where, never the text";
    MemoryConfirmed "memory.confirmed" of "the memory": "a person stands by what an agent wrote down; it is told from now on";
    MemoryForgotten "memory.forgotten" of "the memory": "it was removed with its vector, and summaries that may tell it were dropped";
    MemoryRecalled "memory.recalled" of "nothing": "the run was reminded of what is remembered; of which, and how long it is, never the text";
    ConversationCompacted "conversation.compacted" of "the conversation": "older messages were condensed for models, or could not be; how many, by which model, what was remembered of them";
    ConversationDeleted "conversation.deleted" of "the conversation": "its person removed it, with everything that was remembered from it; how much that was";

    // ── What agents may do (agents) ──
    ApprovalRequested "approval.requested" of "the tool": "an agent asked leave for a call; exactly what it would send, why it asks, what the run has read";
    ApprovalDecided "approval.decided" of "the tool": "somebody allowed or denied it; what for, and the reason given";
    ApprovalEdited "approval.edited" of "the tool": "whoever decided changed what will be sent; before and after";
    ApprovalExpired "approval.expired" of "the tool": "nobody decided in time, so it was not done";
    ApprovalWithdrawn "approval.withdrawn" of "the tool": "the run ended before anybody decided";
    PolicyChanged "policy.changed" of "the tool": "what agents may do with it without asking; the old rule and the new";

    // ── Other people's tools (integrations) ──
    McpServerAdded "mcp_server.added" of "the server": "somebody added a server of tools; where it is, and which secrets it is shown";
    McpServerLooked "mcp_server.looked" of "the server": "somebody asked a server for its tools; which there are, and what could not be taken";
    McpServerRemoved "mcp_server.removed" of "the server": "somebody removed a server of tools";
    McpToolChosen "mcp_tool.chosen" of "the server": "somebody said which agents may use a tool of it, and whether it only reads";
    McpToolChanged "mcp_tool.changed" of "the server": "it describes a tool otherwise than when that was allowed, so the tool is out of use";

    // ── Budgets (models) ──
    BudgetChanged "budget.changed" of "the budget": "somebody set what may be spent in a month, or took the bound away; the bounds before and after";
    BudgetNearlyUsed "budget.nearly_used" of "the budget": "so many percent of it were used up; told once a month";

    // ── Meetings of agents (boardroom) ──
    MeetingStarted "meeting.started" of "the meeting": "a meeting was called; the question, the members, the chair";
    MeetingContributed "meeting.contributed" of "the meeting": "a member spoke, or could not; in which round, by which run, how long it took";
    MeetingFinished "meeting.finished" of "the meeting": "it came to its end; how many agreed and dissented, the next actions' ids, or why there is no outcome";
    MeetingStopped "meeting.stopped" of "the meeting": "its person stopped it; what was said until then is kept";
    MeetingShared "meeting.shared" of "the meeting": "who may read it was changed; whether everybody in the organisation may";
    MeetingDeleted "meeting.deleted" of "the meeting": "it was removed with all that was said in it; what was asked";

    // ── Models on the servers (models); in the appliance's log ──
    ModelPulled "model.pulled" of "the model": "an operator had a server fetch it; which server, how it ended, how many bytes";
    ModelDeleted "model.deleted" of "the model": "an operator had it removed from a server's disk; which server";
    ModelTested "model.tested" of "the route or the target": "an operator asked it a question to try it; who answered, how fast, whether it calls tools";

    // ── The log itself (audit, runs) ──
    AuditVerified "audit.verified" of "nothing": "somebody had the whole log checked; how many entries, and whether the chain is whole";
    AuditExported "audit.exported" of "the run, or nothing": "somebody took a copy of the log, or of a run";
    AuditPruned "audit.pruned" of "nothing": "the oldest entries were removed; which, before which moment";

    // ── The appliance (app) ──
    ConfigurationChanged "configuration.changed" of "nothing": "the appliance started with other settings than before; which, never a secret";
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_a_noun_and_a_verb_and_none_is_given_twice() {
        let part = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        for action in Action::ALL {
            let (noun, verb) = action.name().split_once('.').expect("a noun and a verb");
            assert!(part(noun) && part(verb), "{action}");
            assert!(!action.subject().is_empty() && !action.meaning().ends_with('.'), "{action}");
        }
        let names: HashSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
    }
}
