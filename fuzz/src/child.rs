//! `aegis __extract` alone, which the benchmark and the fuzzer's findings can be run with.

fn main() -> std::process::ExitCode {
    aegis_fuzz::knowledge::extract::child::main()
}
