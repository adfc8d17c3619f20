//! The built-in embedding model against onnxruntime with the same network. How to run it, and what it says, stands in
//! `tests/bench/README.md`.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use aegis::models::{embedding::EmbeddingModel, minilm::MiniLm};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

/// Passages of some 240 tokens, as documents are cut into; batches as they are ingested.
const PASSAGES: u32 = 96;
const BATCH: usize = 16;
const ROUNDS: usize = 5;

/// One round's wall-clock and CPU seconds.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    cpu: f64,
}

/// The other side, in a process of its own.
struct Onnx {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Onnx {
    fn start(python: &str, texts: &Path) -> Self {
        let pack = Path::new(env!("AEGIS_PACK"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/embedding/onnx.py");
        // AEGIS embeds passages at a lower priority than everything else: so does the other side.
        let mut command = Command::new("nice");
        command.args(["-n", "10", python, script]).arg(texts);
        command.args([pack.join("minilm.onnx"), pack.join("tokenizer.json")]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python with onnxruntime");
        let (input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let mut started = Self { child, input, output: BufReader::new(output) };
        println!("onnxruntime {}", started.read()["version"]);
        started
    }

    fn ask(&mut self, what: &str) -> Value {
        writeln!(self.input, "{what}").expect("it listens");
        self.read()
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Onnx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu() -> f64 {
    let used = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    let seconds = |time: nix::sys::time::TimeVal| {
        f64::from(i32::try_from(time.tv_sec()).expect("not years"))
            + f64::from(i32::try_from(time.tv_usec()).expect("below a million")) / 1e6
    };
    seconds(used.user_time()) + seconds(used.system_time())
}

/// Sentences of ordinary words, all different.
fn passages() -> Vec<String> {
    const WORDS: [&str; 24] = [
        "the",
        "committee",
        "decided",
        "that",
        "every",
        "parent",
        "may",
        "stay",
        "at",
        "home",
        "while",
        "a",
        "child",
        "is",
        "small",
        "and",
        "returns",
        "to",
        "work",
        "later",
        "with",
        "full",
        "salary",
        "afterwards",
    ];
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[usize::try_from(state >> 33).expect("31 bits") % WORDS.len()]
    };
    (0..PASSAGES).map(|_| (0..240).map(|_| next()).collect::<Vec<_>>().join(" ")).collect()
}

async fn round(model: &MiniLm, texts: &[String]) -> (Took, Vec<Vec<f32>>) {
    let (began, used) = (Instant::now(), cpu());
    let mut vectors = Vec::new();
    for batch in texts.chunks(BATCH) {
        vectors.extend(model.embed(batch).await.expect("it embeds"));
    }
    (Took { seconds: began.elapsed().as_secs_f64(), cpu: cpu() - used }, vectors)
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a benchmark, run by hand: tests/bench/README.md"]
async fn the_built_in_model_against_onnxruntime() {
    let python = env::var("ONNX_PYTHON").expect("ONNX_PYTHON=/path/to/venv/bin/python, see tests/bench/README.md");
    let texts = passages();
    let home = tempfile::tempdir().expect("a place");
    let file = home.path().join("texts.json");
    std::fs::write(&file, serde_json::to_vec(&texts).expect("JSON")).expect("it is written");
    let mut other = Onnx::start(&python, &file);
    let model = MiniLm::new();
    println!(
        "{PASSAGES} passages of {} tokens on average",
        texts.iter().map(|text| model.count_tokens(text)).sum::<usize>() / texts.len()
    );
    round(&model, &texts[..BATCH]).await;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        let (took, _) = round(&model, &texts).await;
        let told = other.ask("again");
        let of = |name: &str| told[name].as_f64().expect("a number");
        let them = Took { seconds: of("seconds"), cpu: of("cpu_seconds") };
        println!(
            "round {number}: AEGIS {:.2} s, {:.2} s of CPU; onnxruntime {:.2} s, {:.2} s of CPU",
            took.seconds, took.cpu, them.seconds, them.cpu
        );
        ours.push(took);
        theirs.push(them);
    }
    let seconds = |of: &[Took]| middle(of.iter().map(|took| took.seconds).collect());
    let cpu = |of: &[Took]| middle(of.iter().map(|took| took.cpu).collect());
    let rate = |of: &[Took]| f64::from(PASSAGES) / seconds(of);
    println!(
        "passages/s: AEGIS {:.1}, onnxruntime {:.1}: {:.2} times",
        rate(&ours),
        rate(&theirs),
        rate(&ours) / rate(&theirs)
    );
    println!("CPU for the same passages: {:.2} times less", cpu(&theirs) / cpu(&ours));

    let (_, vectors) = round(&model, &texts).await;
    let told = other.ask("vectors");
    let same: Vec<f64> = told["vectors"]
        .as_array()
        .expect("vectors")
        .iter()
        .zip(&vectors)
        .map(|(theirs, ours)| {
            let theirs = theirs.as_array().expect("numbers").iter().map(|number| number.as_f64().expect("a number"));
            theirs.zip(ours).map(|(one, other)| one * f64::from(*other)).sum()
        })
        .collect();
    let least = same.iter().copied().fold(1.0, f64::min);
    println!(
        "the vectors are the same but for rounding: cosine {least:.4} at least; its peak memory {} MiB",
        told["peak_mib"]
    );
    assert!(least > 0.97, "it is the same network: {least}");
}
