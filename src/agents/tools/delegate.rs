//! `delegate.ask`: an agent hands a question to another. The other answers in a run of its own, in the name of the same
//! person and one step deeper, so it may do no more than the first; what it cites the first may cite too.

use std::{
    collections::VecDeque,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::understand;
use crate::{
    agents::{
        Agents, Answer, Ask, Citation, Handle, RunEvent, Thread,
        record::lock,
        tool::{Source, Tool, ToolContext, ToolOutput},
        with_places,
    },
    models::chat::ToolSpec,
    support::{Error, Kind, Result, ids::RunId},
};

/// How often a question may be handed on.
const DEPTH: u8 = 2;
/// Questions that one run may hand on.
const QUESTIONS: u8 = 4;
/// Runs whose questions are counted; the oldest are forgotten, which have ended long since.
const COUNTED: usize = 512;
/// How long a colleague may take, a cold model's load included.
const PATIENCE: Duration = Duration::from_mins(10);

/// `delegate.ask`
#[derive(Default)]
pub struct Delegate {
    /// The agents hold this tool, so it may not hold them.
    agents: OnceLock<Handle>,
    counted: Mutex<VecDeque<(RunId, u8)>>,
}

impl Delegate {
    /// Says who can be asked. Until then nobody can.
    pub fn introduce(&self, agents: &Agents) {
        // Who was introduced first stays.
        let _ = self.agents.set(agents.handle());
    }

    fn count(&self, run: RunId) -> Result<()> {
        let mut counted = lock(&self.counted);
        let index = counted.iter().position(|(counted, _)| *counted == run).unwrap_or_else(|| {
            if counted.len() == COUNTED {
                counted.pop_front();
            }
            counted.push_back((run, 0));
            counted.len() - 1
        });
        let Some((_, questions)) = counted.get_mut(index) else { return Ok(()) };
        if *questions == QUESTIONS {
            return Err(Error::invalid(format!(
                "{QUESTIONS} questions were handed on already; answer with what you have"
            )));
        }
        *questions += 1;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Arguments {
    agent: String,
    question: String,
}

#[async_trait]
impl Tool for Delegate {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "delegate.ask".to_owned(),
            description: "Asks a colleague, another agent of the organisation, one question and returns the answer with the \
                          passages it rests on. The colleague does not know this conversation: put everything that is \
                          needed into the question. Use it when the question is in the colleague's field and not in yours."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "agent": { "type": "string", "minLength": 1, "maxLength": 64, "description": "The colleague's id, such as `atlas`" },
                    "question": { "type": "string", "minLength": 1, "maxLength": 4000, "description": "The question, complete in itself" }
                },
                "required": ["agent", "question"],
                "additionalProperties": false
            }),
        }
    }

    fn returns_untrusted_text(&self) -> bool {
        // The colleague may have read anything.
        true
    }

    fn knows_repetitions(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn call(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput> {
        let Arguments { agent, question } = understand(arguments)?;
        let agent = agent.trim().trim_start_matches('@').to_lowercase();
        if agent == context.agent {
            return Err(Error::invalid("that is you: answer it yourself, or ask another colleague"));
        }
        if context.depth >= DEPTH {
            return Err(Error::invalid("this question was handed on already; answer it yourself"));
        }
        let agents = self.agents.get().and_then(Handle::agents);
        let agents = agents.ok_or_else(|| Error::unavailable("no colleague can be asked now; answer it yourself"))?;
        if let Err(error) = agents.profile(&context.db, &agent).await {
            let colleagues = agents.agents(&context.db).await?;
            let others = colleagues.iter().filter(|info| info.id != context.agent).map(|info| format!("`{}`", info.id));
            let others = others.collect::<Vec<_>>().join(", ");
            return Err(match error.kind() {
                Kind::NotFound if others.is_empty() => Error::invalid("there are no colleagues; answer it yourself"),
                Kind::NotFound => Error::invalid(format!("there is no colleague `{agent}`; there are {others}")),
                _ => error,
            });
        }
        self.count(context.run)?;
        let instructions = include_str!("../prompts/delegated.md").trim().replace("{colleague}", &context.agent);
        let run = agents
            .ask(
                &context.db,
                Ask {
                    thread: Thread::Apart { history: Vec::new() },
                    instructions: Some(instructions),
                    user: context.user,
                    depth: context.depth + 1,
                    has_read: context.has_read.clone(),
                    ..Ask::new(agent.clone(), question, context.actor.clone())
                },
            )
            .await?;
        let id = run.id;
        // Dropping the events, as when the caller is stopped, stops the colleague too.
        let mut events = run.events;
        while let Some(event) = events.next().await {
            match event {
                RunEvent::Finished(answer) => return Ok(told(&agent, id, answer)),
                RunEvent::Failed { message, .. } => {
                    return Err(Error::invalid(format!("{agent} could not answer (run {id}): {message}")));
                }
                _ => {}
            }
        }
        Err(Error::invalid(format!("{agent} broke off (run {id})")))
    }
}

fn told(agent: &str, run: RunId, answer: Answer) -> ToolOutput {
    let summary = format!("{agent} answered, {} passages", answer.citations.len());
    let text = with_places(&answer.answer, &answer.citations);
    let content = format!("{agent} answered (run {run}, /audit/runs/{run}):\n\n{text}");
    let sources = answer.citations.into_iter().map(source).collect();
    ToolOutput { summary, content: Value::String(content), sources }
}

fn source(citation: Citation) -> Source {
    let Citation { document, document_id, passage_id, locator, text, .. } = citation;
    Source { passage: passage_id, document: document_id, title: document, locator, text, score: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_hands_on_a_few_questions_and_no_more() {
        let delegate = Delegate::default();
        let run = RunId::generate();
        for _ in 0..QUESTIONS {
            delegate.count(run).unwrap();
        }
        assert!(delegate.count(run).is_err());
        for _ in 0..COUNTED * 2 {
            delegate.count(RunId::generate()).unwrap();
        }
        assert!(lock(&delegate.counted).len() <= COUNTED);
    }
}
