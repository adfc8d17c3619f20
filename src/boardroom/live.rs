//! The meetings that go on in this process: what is being said, for those who watch, and how one is stopped.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::Round;
use crate::support::ids::{MeetingId, TenantId};

/// Events that a slow watcher may be behind; one who is further behind is given everything again.
const BEHIND: usize = 1_024;

/// Something that happened in a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MeetingEvent {
    /// A member says more.
    Said {
        /// Where in the meeting.
        round: Round,
        /// The member.
        agent: String,
        /// Where the piece begins in what the member says in this round, in characters: 0 for all of it until now.
        from: usize,
        /// The piece.
        text: String,
    },
    /// A member's contribution is complete, or failed; it is stored.
    Contributed {
        /// Where in the meeting.
        round: Round,
        /// The member.
        agent: String,
        /// `complete`, `failed`, `stopped` or `passed`.
        state: String,
    },
    /// The meeting is over, or waits: nothing more comes on this stream.
    Ended,
}

/// The meetings of this process. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Live(Arc<Mutex<HashMap<MeetingId, Arc<Room>>>>);

/// A meeting that goes on.
pub(super) struct Room {
    tenant: TenantId,
    events: broadcast::Sender<MeetingEvent>,
    said: Mutex<HashMap<(Round, String), String>>,
    /// Cancelled when the person stops it.
    pub(super) stop: CancellationToken,
    /// Cancelled when it has to wait: its organisation goes out of service.
    pub(super) wait: CancellationToken,
}

/// The right to hold a meeting; given up when it is dropped, and then those who watch hear the end.
pub(super) struct Held {
    live: Live,
    id: MeetingId,
    pub(super) room: Arc<Room>,
}

impl Live {
    /// Opens the room of a meeting; `None` when it is held in this process already.
    pub(super) fn open(&self, tenant: &TenantId, id: MeetingId) -> Option<Held> {
        let mut rooms = lock(&self.0);
        if rooms.contains_key(&id) {
            return None;
        }
        let room = Arc::new(Room {
            tenant: tenant.clone(),
            events: broadcast::channel(BEHIND).0,
            said: Mutex::default(),
            stop: CancellationToken::new(),
            wait: CancellationToken::new(),
        });
        rooms.insert(id, room.clone());
        Some(Held { live: self.clone(), id, room })
    }

    /// The room of a meeting that goes on here.
    pub(super) fn room(&self, tenant: &TenantId, id: MeetingId) -> Option<Arc<Room>> {
        lock(&self.0).get(&id).filter(|room| room.tenant == *tenant).cloned()
    }

    /// Has all meetings of a tenant wait.
    pub(super) fn suspend(&self, tenant: &TenantId) {
        for room in lock(&self.0).values().filter(|room| room.tenant == *tenant) {
            room.wait.cancel();
        }
    }
}

impl Room {
    /// A member says more.
    pub(super) fn say(&self, round: Round, agent: &str, text: &str) {
        let mut said = lock(&self.said);
        let whole = said.entry((round, agent.to_owned())).or_default();
        let from = whole.chars().count();
        whole.push_str(text);
        // Under the lock, so that whoever begins to watch misses nothing. An error means that nobody watches.
        let _ = self.events.send(MeetingEvent::Said { round, agent: agent.to_owned(), from, text: text.to_owned() });
    }

    /// What a member has said in a round that is not over.
    pub(super) fn said(&self, round: Round, agent: &str) -> String {
        lock(&self.said).get(&(round, agent.to_owned())).cloned().unwrap_or_default()
    }

    /// A contribution is stored; what was said of it is there now.
    pub(super) fn contributed(&self, round: Round, agent: &str, state: &str) {
        lock(&self.said).remove(&(round, agent.to_owned()));
        let _ = self.events.send(MeetingEvent::Contributed { round, agent: agent.to_owned(), state: state.to_owned() });
    }

    /// What was said until now, then what comes, up to the end.
    pub(super) fn watch(self: Arc<Self>) -> impl Stream<Item = MeetingEvent> + Send + 'static {
        let (events, first) = self.attach();
        let room = Arc::downgrade(&self);
        stream::unfold(Some((room, events, first)), |state| async {
            let (room, mut events, mut waiting) = state?;
            loop {
                if let Some(event) = waiting.pop() {
                    return Some((event, Some((room, events, waiting))));
                }
                match events.recv().await {
                    Ok(MeetingEvent::Ended) | Err(RecvError::Closed) => return Some((MeetingEvent::Ended, None)),
                    Ok(event) => return Some((event, Some((room, events, waiting)))),
                    Err(RecvError::Lagged(_)) => {
                        let Some(again) = room.upgrade() else { return Some((MeetingEvent::Ended, None)) };
                        (events, waiting) = again.attach();
                    }
                }
            }
        })
    }

    fn attach(&self) -> (broadcast::Receiver<MeetingEvent>, Vec<MeetingEvent>) {
        let said = lock(&self.said);
        let now = said.iter().map(|((round, agent), text)| MeetingEvent::Said {
            round: *round,
            agent: agent.clone(),
            from: 0,
            text: text.clone(),
        });
        (self.events.subscribe(), now.collect())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.live.0).remove(&self.id);
        let _ = self.room.events.send(MeetingEvent::Ended);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_late_is_given_what_was_said_and_then_what_comes() {
        let (live, tenant, id) = (Live::default(), TenantId::from_random([1; 10]), MeetingId::generate());
        let held = live.open(&tenant, id).unwrap();
        assert!(live.open(&tenant, id).is_none(), "one meeting is held once");
        assert!(live.room(&TenantId::from_random([2; 10]), id).is_none(), "nobody else's");
        held.room.say(Round::Positions, "atlas", "Yö");
        held.room.say(Round::Positions, "atlas", "u");
        let watching = live.room(&tenant, id).unwrap().watch();
        held.room.say(Round::Positions, "atlas", " can");
        held.room.contributed(Round::Positions, "atlas", "complete");
        drop(held);
        let all: Vec<_> = watching.collect().await;
        let said = |from: usize, text: &str| MeetingEvent::Said {
            round: Round::Positions,
            agent: "atlas".to_owned(),
            from,
            text: text.to_owned(),
        };
        let contributed = MeetingEvent::Contributed {
            round: Round::Positions,
            agent: "atlas".to_owned(),
            state: "complete".to_owned(),
        };
        assert_eq!(all, [said(0, "Yöu"), said(3, " can"), contributed, MeetingEvent::Ended]);
        assert!(live.open(&tenant, id).is_some());
    }
}
