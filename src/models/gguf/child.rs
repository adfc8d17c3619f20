//! The engine's own process: `aegis __engine FILE CONTEXT THREADS`. It reads orders from standard input and
//! writes reports to standard output; when the input ends, because the appliance has, it ends too.

use std::{
    ffi::OsString,
    io::{BufRead, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use llama_cpp_2::LogOptions;

use super::{
    generate::{Listener, Loaded, Session},
    protocol::{Order, Report},
};
use crate::models::chat::ChatRequest;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "__engine";

/// What the subcommand is called with.
pub(super) fn arguments(file: &Path, context: u32, threads: u32) -> Vec<OsString> {
    vec![SUBCOMMAND.into(), file.into(), context.to_string().into(), threads.to_string().into()]
}

/// Runs the engine; `arguments` are those after the subcommand.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    log_to_stderr();
    let mut arguments = arguments.into_iter();
    let file = PathBuf::from(arguments.next().unwrap_or_default());
    let mut number = || arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
    let (context, threads) = (number(), number());
    // Orders are read from the start, so that the engine ends with the appliance even while it loads.
    let (orders, cancelled) = orders();
    let loaded = match Loaded::load(&file) {
        Ok(loaded) => loaded,
        Err(message) => return unusable(message),
    };
    let mut session = match loaded.session(context, threads) {
        Ok(session) => session,
        Err(message) => return unusable(message),
    };
    report(&Report::Ready);
    for (id, request) in orders {
        report(&answer(&mut session, id, &request, &cancelled));
    }
    ExitCode::SUCCESS
}

fn answer(session: &mut Session<'_>, id: u64, request: &ChatRequest, cancelled: &AtomicU64) -> Report {
    match session.answer(request, &mut Reporter { id, cancelled }) {
        Ok(finish) => Report::Done {
            id,
            reason: finish.reason,
            prompt_tokens: finish.prompt_tokens,
            completion_tokens: finish.completion_tokens,
        },
        Err(failure) => Report::Failed { id, failure },
    }
}

/// Reads standard input on a thread of its own: requests come out in order, and a cancellation is seen while
/// one is being answered. Ids grow, so one number tells which are cancelled.
fn orders() -> (mpsc::Receiver<(u64, ChatRequest)>, Arc<AtomicU64>) {
    let (sender, receiver) = mpsc::channel();
    let cancelled = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&cancelled);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(Order::Chat { id, request }) => {
                    if sender.send((id, request)).is_err() {
                        break;
                    }
                }
                Ok(Order::Cancel { id }) => {
                    seen.fetch_max(id, Ordering::SeqCst);
                }
                Err(error) => tracing::error!(%error, "an order cannot be read"),
            }
        }
        // The appliance has gone, or wants the memory back. Not a return: an answer may be under way.
        std::process::exit(0);
    });
    (receiver, cancelled)
}

struct Reporter<'a> {
    id: u64,
    cancelled: &'a AtomicU64,
}

impl Listener for Reporter<'_> {
    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst) >= self.id
    }

    fn reading(&mut self) {
        report(&Report::Reading { id: self.id });
    }

    fn text(&mut self, piece: &str) {
        report(&Report::Text { id: self.id, text: piece.to_owned() });
    }
}

fn report(report: &Report) {
    let Ok(line) = serde_json::to_string(report) else { return };
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Nobody reads any more.
        std::process::exit(0);
    }
}

fn unusable(message: String) -> ExitCode {
    report(&Report::Unusable { message });
    ExitCode::FAILURE
}

/// llama.cpp's own words, warnings and worse, go to standard error, which the appliance logs.
fn log_to_stderr() {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN);
    let log = log.with_ansi(false).with_level(false).with_target(false).without_time();
    let _ = log.try_init();
    llama_cpp_2::send_logs_to_tracing(LogOptions::default());
}
