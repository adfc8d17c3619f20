//! What both APIs keep of an answer while it is being written.

use crate::{
    agents::{Answer, Citation, RunEvent},
    developer::annotations::{self, Annotation},
    http::{Kit, context::RequestContext},
};

/// What has been written until now, and what its marks mean.
pub(super) struct Written {
    /// The text as it was sent.
    pub(super) text: String,
    sources: Vec<Citation>,
    kit: Kit,
}

impl Written {
    pub(super) fn nothing(context: &RequestContext) -> Self {
        Self { text: String::new(), sources: Vec::new(), kit: context.kit().clone() }
    }

    /// Takes in what an event adds.
    pub(super) fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Text { text } => self.text.push_str(text),
            RunEvent::Retrieved { sources, .. } => {
                for source in sources {
                    self.sources.retain(|known| known.number != source.number);
                    self.sources.push(source.clone());
                }
            }
            _ => {}
        }
    }

    /// What the marks in the text as it was sent mean. Quotations bring their citations with the whole answer only, and
    /// their marks are numbered as they are sent.
    pub(super) fn annotations(&self, answer: &Answer) -> Vec<Annotation> {
        let sources = if answer.quoting { &answer.citations } else { &self.sources };
        annotations::of(&self.text, sources, |path| self.kit.link(path))
    }
}

/// What the marks of a whole answer mean.
pub(super) fn annotations(answer: &Answer, context: &RequestContext) -> Vec<Annotation> {
    annotations::of(&answer.answer, &answer.citations, |path| context.kit().link(path))
}
