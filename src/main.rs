//! `aegis`: one binary, see `aegis --help`.

fn main() {}
