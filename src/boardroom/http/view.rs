//! What the boardroom's pages show, made of meetings.

use chrono::{DateTime, Utc};

use crate::{
    agents::{Citation, markdown},
    boardroom::{
        Contributed, Contribution, Meeting, MeetingSummary, Member, Round, State,
        export::{self, Record},
    },
    http::format,
    support::ids::{MeetingId, UserId},
};

/// A meeting in the list.
pub(super) struct Listed {
    pub(super) id: MeetingId,
    pub(super) question: String,
    /// `Atlas, Sage`
    pub(super) members: String,
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    /// Whether it is somebody else's.
    pub(super) shared: bool,
    pub(super) at: String,
    pub(super) when: String,
}

/// A meeting as its page shows it.
#[expect(clippy::struct_excessive_bools, reason = "what a template asks for is yes or no")]
pub(super) struct Shown {
    pub(super) id: MeetingId,
    pub(super) question: String,
    pub(super) own: bool,
    pub(super) shared: bool,
    pub(super) running: bool,
    /// Whether it is shown on paper, where nothing can be opened.
    pub(super) paper: bool,
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    pub(super) at: String,
    pub(super) when: String,
    pub(super) day: String,
    pub(super) problem: Option<String>,
    pub(super) members: Vec<Seat>,
    pub(super) rounds: Vec<RoundView>,
    pub(super) outcome: Option<Outcome>,
    pub(super) sources: Vec<Citation>,
}

/// A member at the table.
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) mark: &'static str,
    pub(super) hue: String,
    pub(super) chair: bool,
}

/// A round with its columns.
pub(super) struct RoundView {
    pub(super) title: &'static str,
    pub(super) id: &'static str,
    /// Whether it is the one to look at.
    pub(super) open: bool,
    pub(super) columns: Vec<Column>,
}

/// What a member says in a round.
pub(super) struct Column {
    /// `positions-atlas`: where events find it.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) mark: &'static str,
    pub(super) hue: String,
    /// Safe HTML of what is complete.
    pub(super) html: String,
    /// What is being said.
    pub(super) said: String,
    pub(super) remark: Option<String>,
    pub(super) failed: bool,
    /// Whether nothing is stored yet.
    pub(super) open: bool,
    /// Model and duration.
    pub(super) facts: String,
    pub(super) run: Option<String>,
}

/// The outcome as a document.
pub(super) struct Outcome {
    pub(super) formed: bool,
    pub(super) answer: String,
    pub(super) agreement: Vec<String>,
    pub(super) dissent: Vec<(String, String, String)>,
    pub(super) confidence: Option<(String, String)>,
    pub(super) actions: Vec<Action>,
}

/// A next action.
pub(super) struct Action {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) what: String,
    pub(super) due: String,
}

pub(super) fn list(meetings: Vec<MeetingSummary>, now: DateTime<Utc>) -> Vec<Listed> {
    let listed = |meeting: MeetingSummary| Listed {
        id: meeting.id,
        members: meeting.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", "),
        state: export::state(meeting.state),
        class: class(meeting.state),
        shared: !meeting.own,
        question: meeting.question,
        at: format::machine(meeting.created_at),
        when: format::ago(now, meeting.created_at),
    };
    meetings.into_iter().map(listed).collect()
}

/// A meeting, with what is being `said` in it at this moment.
pub(super) fn meeting(
    meeting: &Meeting,
    user: Option<UserId>,
    now: DateTime<Utc>,
    said: impl Fn(Round, &str) -> String,
) -> Shown {
    let record = Record::of(meeting);
    let running = meeting.state == State::Running;
    let plain = |text: &str| markdown::render(text, &record.sources);
    let outcome = meeting.synthesis.as_ref().map(|outcome| Outcome {
        formed: outcome.formed,
        answer: plain(&record.answer),
        agreement: record.agreement.iter().map(|point| plain(point)).collect(),
        dissent: record.dissent.iter().map(|(who, what, why)| (who.clone(), plain(what), plain(why))).collect(),
        confidence: outcome.confidence.as_ref().map(|sure| (sure.level.clone(), sure.reason.clone())),
        actions: meeting
            .actions
            .iter()
            .map(|action| Action {
                id: action.id.to_string(),
                owner: action.owner.clone(),
                what: action.what.clone(),
                due: action.due.clone(),
            })
            .collect(),
    });
    let mut rounds = Vec::new();
    for (round, title, id) in [
        (Round::Positions, "Positions", "positions"),
        (Round::Answers, "Answers to each other", "answers"),
        (Round::Synthesis, "Outcome", "synthesis"),
    ] {
        let column = |member: &Member| {
            let stored = record.said.iter().find(|(said, _)| said.round == round && said.agent == member.id);
            let now_said = if running && stored.is_none() { said(round, &member.id) } else { String::new() };
            // The outcome has one writer; of the others only what they have said is shown.
            let expected = running && stored.is_none() && expected(meeting, round, &member.id);
            (stored.is_some() || expected || !now_said.is_empty())
                .then(|| column(member, id, stored, &record, now_said))
        };
        let columns: Vec<_> = meeting.members.iter().filter_map(column).collect();
        if !columns.is_empty() {
            rounds.push(RoundView { title, id, open: running, columns });
        }
    }
    if running {
        let last = rounds.len().saturating_sub(1);
        for (index, round) in rounds.iter_mut().enumerate() {
            round.open = index == last;
        }
    }
    if outcome.is_none() && !running {
        for round in &mut rounds {
            round.open = true;
        }
    }
    let seat = |member: &Member| Seat {
        name: member.name.clone(),
        title: member.title.clone(),
        mark: member.mark(),
        hue: member.hue_class(),
        chair: member.id == meeting.chair,
    };
    Shown {
        id: meeting.id,
        question: meeting.question.clone(),
        own: meeting.user == user,
        shared: meeting.shared,
        running,
        paper: false,
        state: export::state(meeting.state),
        class: class(meeting.state),
        at: format::machine(meeting.created_at),
        when: format::ago(now, meeting.created_at),
        day: meeting.created_at.format("%-d %B %Y, %H:%M UTC").to_string(),
        problem: meeting.problem.as_deref().map(|problem| format!("{}.", export::capital(problem))),
        members: meeting.members.iter().map(seat).collect(),
        rounds,
        outcome,
        sources: record.sources.clone(),
    }
}

/// Whether somebody is to speak in a round that goes on.
fn expected(meeting: &Meeting, round: Round, agent: &str) -> bool {
    let whole = |said: &Contribution| matches!(said.state, Contributed::Complete | Contributed::Passed);
    let over = |round| {
        let spoke = |id: &str| meeting.contribution(Round::Positions, id).is_some_and(whole);
        // With one voice there is nobody to answer.
        if round == Round::Answers && meeting.members.iter().filter(|member| spoke(&member.id)).count() < 2 {
            return true;
        }
        let mut due = meeting.members.iter().filter(|member| round == Round::Positions || spoke(&member.id));
        due.all(|member| meeting.contribution(round, &member.id).is_some())
    };
    match round {
        Round::Positions => true,
        Round::Answers => {
            over(Round::Positions)
                && !over(Round::Answers)
                && meeting.contribution(Round::Positions, agent).is_some_and(whole)
        }
        Round::Synthesis => agent == meeting.chair && over(Round::Positions) && over(Round::Answers),
    }
}

fn column(
    member: &Member,
    round: &str,
    stored: Option<&(&Contribution, String)>,
    record: &Record<'_>,
    said: String,
) -> Column {
    let contribution = stored.map(|(contribution, _)| *contribution);
    let shown = stored.filter(|(contribution, _)| contribution.state != Contributed::Passed);
    let mut facts = Vec::new();
    if let Some(contribution) = contribution {
        facts.extend(contribution.model.clone());
        facts.push(format::duration(contribution.duration_ms));
    }
    Column {
        key: format!("{round}-{}", member.id),
        name: member.name.clone(),
        title: member.title.clone(),
        mark: member.mark(),
        hue: member.hue_class(),
        html: shown.map(|(_, text)| markdown::render(text, &record.sources)).unwrap_or_default(),
        said,
        remark: contribution.and_then(export::remark),
        failed: contribution
            .is_some_and(|contribution| matches!(contribution.state, Contributed::Failed | Contributed::Stopped)),
        open: stored.is_none(),
        facts: facts.join(" · "),
        run: contribution.and_then(|contribution| contribution.run).map(|run| run.to_string()),
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Running => "busy",
        State::Finished => "ready",
        State::Stopped => "",
        State::Failed => "failed",
    }
}
