//! What a run is reminded of before it answers: the facts that fit its question, taken once, written into its journal and,
//! without their texts, into the audit log.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{About, Fact, Memory, Reader, compaction::Cut, veil};
use crate::{
    agents::{fence, journal::Record, steps::Bench},
    audit::Action,
    db::TenantDb,
    models::tokens,
    support::{Result, ids::MemoryId},
};

/// Facts that a run is reminded of, at most.
const NOTES: usize = 8;
/// What stands round the notes, in tokens.
const AROUND: usize = 160;

/// A fact as a prompt has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agents) struct Note {
    id: MemoryId,
    about: About,
    /// What its line costs in a prompt; kept with it, so that a replay leaves out the same when the text was forgotten.
    tokens: usize,
    text: String,
}

impl Note {
    fn of(fact: Fact) -> Self {
        let mut note = Self { id: fact.id, about: fact.about, tokens: 0, text: fact.text };
        note.tokens = tokens::estimate(&note.line()) + 1;
        note
    }

    fn line(&self) -> String {
        let whose = match self.about {
            About::Agent => "of your own work",
            About::Person => "about the person who asks",
            About::Organisation => "of the organisation",
        };
        format!("- ({whose}) {}", self.text)
    }

    /// As the audit log has it.
    fn told(&self) -> Value {
        json!({"id": self.id, "about": self.about, "tokens": self.tokens})
    }

    /// From the audit log, with its text as far as that is still known.
    pub(in crate::agents) fn read(told: &Value, known: &veil::Known) -> Option<Self> {
        #[derive(Deserialize)]
        struct Told {
            id: MemoryId,
            about: About,
            tokens: usize,
        }
        let Told { id, about, tokens } = Told::deserialize(told).ok()?;
        let mark = veil::of_fact(id);
        let text = known.text(&mark).unwrap_or(&mark).to_owned();
        Some(Self { id, about, tokens, text })
    }

    /// Which fact it is.
    pub(in crate::agents) fn id(told: &Value) -> Option<MemoryId> {
        told["id"].as_str()?.parse().ok()
    }
}

/// Where a run's notes come from.
#[derive(Clone)]
pub(in crate::agents) enum Recollection {
    /// From what is remembered now.
    Live(Memory),
    /// From the recording, in a replay.
    Recorded(Vec<Note>),
}

/// What a prompt is reminded of: the notes that fit, and what was said before the conversation was cut.
#[derive(Clone, Copy, Default)]
pub(in crate::agents) struct Reminder<'a> {
    pub(in crate::agents) notes: &'a [Note],
    pub(in crate::agents) cut: Option<&'a Cut>,
}

impl Reminder<'_> {
    /// What is added to the instructions, within a third of `room` tokens, and what it costs.
    pub(in crate::agents) fn within(self, room: usize) -> (String, usize) {
        let (mut text, mut cost) = (String::new(), 0);
        if let Some(cut) = self.cut.filter(|cut| (1..=room / 4).contains(&cut.cost())) {
            cost += cut.cost();
            text.push_str("\n\n---\n\n");
            text.push_str(&cut.told());
        }
        let mut left = (room / 8).min((room / 3).saturating_sub(cost)).saturating_sub(AROUND);
        let fitting = self.notes.iter().filter(|note| {
            let fits = note.tokens <= left;
            left -= if fits { note.tokens } else { 0 };
            fits
        });
        let fitting: Vec<&Note> = fitting.collect();
        if !fitting.is_empty() {
            cost += AROUND + fitting.iter().map(|note| note.tokens).sum::<usize>();
            let lines: Vec<String> = fitting.iter().map(|note| note.line()).collect();
            text.push_str("\n\n---\n\n");
            text.push_str(&include_str!("../prompts/notes.md").trim().replace("{notes}", &lines.join("\n")));
        }
        (text, cost)
    }

    /// For a model that is given one short text: the best notes, within `room` tokens.
    pub(in crate::agents) fn in_short(self, room: usize) -> Vec<String> {
        let mut left = room;
        let fitting = self.notes.iter().take(2).filter(|note| {
            let fits = note.tokens <= left;
            left -= if fits { note.tokens } else { 0 };
            fits
        });
        fitting.map(|note| fence::bare(&note.text)).collect()
    }
}

impl Memory {
    async fn notes(&self, db: &TenantDb, reader: &Reader, question: &str) -> Result<Vec<Note>> {
        Ok(self.recall(db, reader, question, NOTES).await?.into_iter().map(Note::of).collect())
    }
}

impl Bench<'_> {
    /// Reminds the run, once.
    pub(in crate::agents) async fn remind(&self, notes: &OnceCell<Vec<Note>>) -> Result<()> {
        let reminding = async {
            if let Some(cut) = self.cut {
                cut.hide(&self.recorder.veil);
            }
            let notes = match (self.journal.remembered(), self.recollection) {
                (Some(known), _) => known,
                (None, None) => Vec::new(),
                (None, Some(Recollection::Recorded(notes))) => notes.clone(),
                (None, Some(Recollection::Live(memory))) => {
                    let reader = Reader::of(self.context);
                    let notes = memory.notes(&self.context.db, &reader, self.query).await?;
                    self.journal.write(&Record::Remembered { notes: notes.clone() }).await?;
                    notes
                }
            };
            for note in &notes {
                self.recorder.veil.hide(&note.text, veil::of_fact(note.id));
            }
            if !notes.is_empty() && !self.journal.is_noted(Action::MemoryRecalled, "") {
                let told: Vec<Value> = notes.iter().map(Note::told).collect();
                self.recorder.note(Action::MemoryRecalled, None, json!({ "notes": told })).await?;
            }
            Ok(notes)
        };
        notes.get_or_try_init(|| reminding).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(about: About, text: &str) -> Note {
        let mut note = Note { id: MemoryId::generate(), about, tokens: 0, text: text.to_owned() };
        note.tokens = tokens::estimate(&note.line()) + 1;
        note
    }

    #[test]
    fn notes_are_fenced_and_labelled_and_keep_within_their_room() {
        let notes: Vec<Note> =
            (0..8).map(|n| note(About::Person, &format!("Fact number {n} about something."))).collect();
        let reminder = Reminder { notes: &notes, cut: None };
        let (text, cost) = reminder.within(12_000);
        assert!(text.contains("<notes>\n- (about the person who asks) Fact number 0") && text.ends_with("</notes>"));
        assert!(tokens::estimate(&text) <= cost && cost < 400, "{} {cost}", tokens::estimate(&text));
        let (text, cost) = reminder.within(1_600);
        assert!(text.contains("number 0") && !text.contains("number 7"), "{text}");
        assert!(tokens::estimate(&text) <= cost && cost <= 200, "{cost}");
        assert_eq!(reminder.within(400), (String::new(), 0));
        assert_eq!(Reminder::default().within(10_000), (String::new(), 0));
    }

    #[test]
    fn a_note_from_the_log_costs_what_it_cost_though_its_text_is_forgotten() {
        let note = note(About::Organisation, "Invoices are paid on the first Monday of each month.");
        let again = Note::read(&note.told(), &veil::Known::default()).unwrap();
        assert_eq!((again.tokens, again.id), (note.tokens, note.id));
        assert_eq!(again.text, veil::of_fact(note.id));
        assert!(!note.told().to_string().contains("Invoices"));
    }
}
