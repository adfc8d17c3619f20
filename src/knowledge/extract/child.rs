//! The child's side of extraction: `aegis __extract`. It limits itself before it looks at the first byte,
//! then reads the file from standard input and writes blocks to standard output, one JSON object a line.
//!
//! It can open nothing: the three descriptors that it starts with are all that it may have. Whatever a
//! parser does in here, it ends with this process.

use std::{
    io::{self, BufRead, BufWriter, Read, StdoutLock, Write},
    process::ExitCode,
};

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use serde::{Deserialize, Serialize};

use super::{Attempt, Block, Failure, Finished, Limits, Sink, read};
use crate::support::Error;

/// A line of output is shorter than this; a longer block is divided.
pub(super) const LINE_BYTES: u64 = 4 << 20;
/// Text of one block, at most; every byte may become six in JSON (`\u0001`).
const BLOCK_BYTES: usize = 512 * 1024;
/// A heading, and the name of a sheet, at most.
const NAME_BYTES: usize = 1024;
/// Parsers recurse; half the customary limit of a main thread is not enough for them.
const STACK: usize = 64 << 20;
/// How far reading files stands back behind everything else, of 19.
const NICENESS: i32 = 10;
/// The header is a file name and some numbers.
const HEADER_BYTES: u64 = 64 * 1024;

/// The first line of standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    file_name: String,
    attempt: Attempt,
    memory: u64,
    cpu_seconds: u64,
    text: u64,
}

impl Header {
    /// What the child is to do, and within which limits.
    pub(super) fn new(file_name: &str, attempt: Attempt, limits: Limits) -> Self {
        Self {
            file_name: file_name.to_owned(),
            attempt,
            memory: limits.memory,
            cpu_seconds: limits.cpu_seconds,
            text: limits.text,
        }
    }

    /// The order as the child reads it: one line of JSON.
    pub(super) fn line(&self) -> Result<Vec<u8>, Error> {
        let mut line = serde_json::to_vec(self).map_err(Error::internal)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A line of standard output. The last one is `done` or `failed`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A block.
    Block(Block),
    /// The file has been read to its end.
    Done(Finished),
    /// It cannot be read.
    Failed(Failure),
}

/// Runs the child. Its exit code is 0 whenever it said what there was to say, a failure included.
pub fn main() -> ExitCode {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    let header: Header = match (&mut input).take(HEADER_BYTES).read_until(b'\n', &mut line) {
        Ok(_) => match serde_json::from_slice(&line) {
            Ok(header) => header,
            Err(_) => return ExitCode::from(2),
        },
        Err(_) => return ExitCode::FAILURE,
    };
    drop(input);
    if let Err(error) = limit(&header) {
        eprintln!("the limits could not be set: {error}");
        return ExitCode::FAILURE;
    }
    let reader = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => too_much_memory(),
            _ => Failure::new("The file could not be read to its end."),
        })?;
        let mut sink = Output { out: BufWriter::new(io::stdout().lock()), left: header.text };
        let finished = read(&header.file_name, bytes, header.attempt, &mut sink)?;
        sink.line(&Line::Done(finished))?;
        sink.out.flush().map_err(|_| deaf())
    });
    let Ok(reader) = reader else { return ExitCode::FAILURE };
    match reader.join() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => last_word(failure),
        // A panic unwound the thread; its message is on standard error. The exit code makes it a crash, for
        // which the parent may try the second reader.
        Err(_) => ExitCode::from(101),
    }
}

fn last_word(failure: Failure) -> ExitCode {
    let mut output = Output { out: BufWriter::new(io::stdout().lock()), left: 0 };
    let said = output.line(&Line::Failed(failure)).is_ok() && output.out.flush().is_ok();
    if said { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn limit(header: &Header) -> nix::Result<()> {
    // Whoever asks a question comes first; and when memory is short, this process is the one to go. Where the
    // system forbids either, reading goes on without.
    let _ = std::env::set_current_dir("/");
    let _ = rustix::process::nice(NICENESS);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    setrlimit(Resource::RLIMIT_AS, header.memory, header.memory)?;
    // At the soft limit comes SIGXCPU, a second later SIGKILL.
    setrlimit(Resource::RLIMIT_CPU, header.cpu_seconds, header.cpu_seconds + 1)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_NOFILE, 3, 3)?;
    prctl::set_no_new_privs()
}

struct Output {
    out: BufWriter<StdoutLock<'static>>,
    left: u64,
}

impl Output {
    fn line(&mut self, line: &Line) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, line).map_err(|_| deaf())?;
        self.out.write_all(b"\n").map_err(|_| deaf())
    }
}

impl Sink for Output {
    fn block(&mut self, block: Block) -> Result<(), Failure> {
        let Some(left) = self.left.checked_sub(block.text.len() as u64) else { return Err(too_much_text()) };
        self.left = left;
        let mut block = bounded(block);
        if block.text.len() <= BLOCK_BYTES {
            return self.line(&Line::Block(block));
        }
        let text = std::mem::take(&mut block.text);
        // Pieces of a row are no rows any more.
        block.rows = None;
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(BLOCK_BYTES.min(rest.len())));
            self.line(&Line::Block(Block { text: piece.to_owned(), ..block.clone() }))?;
            let lines = piece.bytes().filter(|byte| *byte == b'\n').count();
            block.line = block.line.map(|line| line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX)));
            rest = after;
        }
        Ok(())
    }
}

/// What stands with every block is short, or a heading of a megabyte over every word would come out each time.
fn bounded(mut block: Block) -> Block {
    let names = block.headings.iter_mut().chain(&mut block.sheet).chain(&mut block.page_label);
    names.for_each(|name| name.truncate(name.floor_char_boundary(NAME_BYTES)));
    block
}

/// The limit on memory was reached.
pub(super) fn too_much_memory() -> Failure {
    Failure::new("The file needs too much memory to read. Split it, or remove its pictures, and upload it again.")
}

/// More came out of a file than a document holds.
pub(super) fn too_much_text() -> Failure {
    Failure::new("The file contains more text than one document may have. Split it and upload the parts.")
}

/// Nobody listens any more; the words reach nobody.
fn deaf() -> Failure {
    Failure::new("The result could not be delivered.")
}
