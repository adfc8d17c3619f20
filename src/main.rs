//! `aegis`: one binary; `aegis --help` lists what it does.

fn main() -> std::process::ExitCode {
    aegis::cli::main()
}
