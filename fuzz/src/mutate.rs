//! What the fuzzer does, without its compiler: files named on the command line are damaged at random and read,
//! again and again; a reader that panics leaves the file that made it do so in the current folder.
//!
//! `cargo run --release --bin mutate -- SECONDS FILE…`

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let seeds: Vec<(String, Vec<u8>)> =
        arguments.filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect();
    assert!(!seeds.is_empty(), "name some files to begin with");
    let (end, mut dice) = (Instant::now() + Duration::from_secs(seconds), Dice(0x9E37_79B9_7F4A_7C15));
    let (mut tried, mut crashed) = (0_u64, 0_u64);
    while Instant::now() < end {
        let (path, whole) = &seeds[dice.below(seeds.len())];
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or("a.txt");
        let bytes = damaged(whole, &mut dice);
        tried += 1;
        if catch_unwind(AssertUnwindSafe(|| aegis_fuzz::read(name, &bytes))).is_err() {
            crashed += 1;
            fs::write(format!("crash-{tried}-{name}"), &bytes).expect("the current folder can be written to");
        }
    }
    println!("{tried} files read, {crashed} of them made a reader panic");
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn damaged(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(64)).min(bytes.len());
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = [0, 0xFF, b'<', b'>', b'9', b'(', b'"', b'&'][dice.below(8)],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].repeat(1 + dice.below(20));
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}
