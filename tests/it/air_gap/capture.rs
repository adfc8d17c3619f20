//! What goes through an interface, frame by frame.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use super::namespace::INTERFACE;

/// Listens in on [`INTERFACE`] until it is ended.
pub struct Capture {
    listener: Child,
    heard: BufReader<ChildStdout>,
}

impl Capture {
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/air_gap/capture.py");
        let mut listener = Command::new("python3")
            .args([script, INTERFACE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut heard = BufReader::new(listener.stdout.take().unwrap());
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n", "the capture did not start");
        Self { listener, heard }
    }

    /// A line for each frame, in order: `tcp 203.0.113.9:443`.
    pub fn end(mut self) -> Vec<String> {
        // What was sent a moment ago is still heard.
        std::thread::sleep(Duration::from_millis(200));
        drop(self.listener.stdin.take());
        let frames: Vec<String> = self.heard.lines().map(Result::unwrap).collect();
        assert!(self.listener.wait().unwrap().success());
        assert_eq!(frames.last().map(String::as_str), Some("ended"), "the capture broke off");
        frames[..frames.len() - 1].to_vec()
    }
}

/// Waits until the kernel has told the neighbours which groups the interface is in, which it does when it comes up.
pub fn until_quiet() {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let capture = Capture::start();
        std::thread::sleep(Duration::from_secs(3));
        let frames = capture.end();
        if frames.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{INTERFACE} does not become quiet: {frames:?}");
    }
}

/// Packets and bytes that an interface of this namespace has sent, from the columns of `/proc/net/dev`.
pub fn sent_through(interface: &str) -> (u64, u64) {
    let counters = fs::read_to_string("/proc/net/dev").unwrap();
    let line = counters.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':')).unwrap();
    let columns: Vec<u64> = line.split_whitespace().map(|column| column.parse().unwrap()).collect();
    (columns[9], columns[8])
}
