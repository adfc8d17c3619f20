//! The appliance as its users have it: the binary, started on a data directory of its own, driven from outside.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub const AEGIS: &str = env!("CARGO_BIN_EXE_aegis");

/// Generous, because several of these run at once on small machines.
const PATIENCE: Duration = Duration::from_secs(90);

/// A data directory with a configuration, and the appliance that may run on it.
pub struct Appliance {
    home: TempDir,
    data_dir: PathBuf,
    serving: Option<Serving>,
}

struct Serving {
    child: Child,
    log: Arc<Mutex<String>>,
    address: String,
}

impl Appliance {
    /// A fresh data directory; `settings` is the configuration file's text after `[server]`.
    pub fn new(settings: &str) -> Self {
        let home = tempfile::Builder::new().prefix("aegis-it-").tempdir().expect("a directory for the appliance");
        let data_dir = home.path().join("data");
        Self::at(home, data_dir, settings)
    }

    /// The same with a data directory of one's own choice below `home`.
    pub fn at(home: TempDir, data_dir: PathBuf, settings: &str) -> Self {
        let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n{settings}\n");
        fs::write(home.path().join("config.toml"), config).expect("the configuration is written");
        Self { home, data_dir, serving: None }
    }

    /// A configuration in which no chat model can be reached: agents quote.
    pub fn without_models() -> Self {
        Self::new("[models]\nchain = []\n")
    }

    /// `aegis serve`, until it says that it is ready.
    pub fn serve(&mut self) -> &mut Self {
        self.serve_with(&[])
    }

    /// The same with more in its environment.
    pub fn serve_with(&mut self, variables: &[(&str, &str)]) -> &mut Self {
        let mut command = self.command(&["serve"]);
        command.envs(variables.iter().copied());
        self.serve_by(command)
    }

    /// The same by a command that ends in `aegis serve`, such as one that enters a namespace first.
    pub fn serve_by(&mut self, mut command: Command) -> &mut Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("aegis starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = collected.lock().expect("the log's lock");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            if let Some(address) = ready_address(&log.lock().expect("the log's lock")) {
                break address;
            }
            let ended = child.try_wait().expect("the child can be asked");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "aegis did not become ready ({ended:?}):\n{}",
                log.lock().expect("the log's lock")
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        self.serving = Some(Serving { child, log, address });
        self
    }

    /// The console's address: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.serving().address)
    }

    /// What the appliance has logged since it was started.
    pub fn log(&self) -> String {
        self.serving().log.lock().expect("the log's lock").clone()
    }

    /// The process of `aegis serve`.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.serving().child.id().try_into().expect("a pid"))
    }

    /// Where everything is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A place for the test's own files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// SIGTERM, and the end of everything.
    pub fn stop(&mut self) {
        let Some(mut serving) = self.serving.take() else { return };
        kill(Pid::from_raw(serving.child.id().try_into().expect("a pid")), Signal::SIGTERM)
            .expect("aegis is told to stop");
        let status = serving.child.wait().expect("aegis ends");
        assert!(
            status.success() || std::thread::panicking(),
            "aegis ended with {status}:\n{}",
            serving.log.lock().expect("the log")
        );
    }

    /// SIGKILL: what a power cut or the kernel would do.
    pub fn kill(&mut self) {
        let mut serving = self.serving.take().expect("aegis serves");
        serving.child.kill().expect("aegis is killed");
        serving.child.wait().expect("aegis is gone");
    }

    /// `aegis ARGUMENTS` on this data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(AEGIS);
        command.arg("--config").arg(self.home.path().join("config.toml")).arg("--data-dir").arg(&self.data_dir);
        command.args(arguments).env_remove("RUST_BACKTRACE").stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("aegis runs")
    }

    /// Runs a command that must succeed, and reads the one JSON document it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat());
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "aegis {arguments:?} failed:\n{err}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}\n{err}", String::from_utf8_lossy(&output.stdout)))
    }

    /// A tenant `acme` with an owner, for tests that need somebody to be.
    pub fn with_owner(&self, email: &str, password: &str) {
        self.json(&["tenant", "create", "acme", "--name", "Acme Ltd"]);
        let arguments = ["--json", "user", "create", email, "--tenant", "acme", "--role", "owner", "--password-stdin"];
        let output = self.run_with_input(&arguments, password.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a command with something on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("aegis runs");
        child.stdin.take().expect("standard input is a pipe").write_all(input).expect("the input is taken");
        child.wait_with_output().expect("aegis ends")
    }

    /// Writes a file for the test and gives its path.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.home.path().join(name);
        fs::write(&path, content).expect("the file is written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn serving(&self) -> &Serving {
        self.serving.as_ref().expect("aegis serves")
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The log says `ready` with the address that was bound.
fn ready_address(log: &str) -> Option<String> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] == "ready")
        .find_map(|line| line["address"].as_str().map(str::to_owned))
}

/// GET over plain HTTP without a client library: the status line's code and the body.
pub fn get(url: &str) -> (u16, String) {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = std::net::TcpStream::connect(host).expect("the appliance accepts");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}
