//! What goes where: results to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::support::Error;

/// How this call prints.
#[derive(Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// `json`: one JSON document on standard output and nothing else.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a person watches standard output as it comes.
    pub fn is_live(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// Prints the result: as JSON, or as the text that `human` makes of it.
    pub fn result<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let text = if self.json { serde_json::to_string(value)? } else { human(value) };
        if text.is_empty() { Ok(()) } else { print(format!("{}\n", text.trim_end_matches('\n')).as_bytes()) }
    }

    /// Prints a piece of an answer as it comes.
    pub fn piece(text: &str) -> anyhow::Result<()> {
        print(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
        print(bytes)
    }

    /// A message for the person, on standard error.
    pub fn note(text: impl std::fmt::Display) {
        eprintln!("{text}");
    }

    /// An error, with what to do about it.
    pub fn error(error: &anyhow::Error) {
        let mut err = std::io::stderr().lock();
        if let Some(ours) = error.downcast_ref::<Error>() {
            let _ = writeln!(err, "error: {}", ours.message());
            if let Some(remedy) = ours.remedy_text() {
                let _ = writeln!(err, "  → {remedy}");
            }
            let mut source = std::error::Error::source(ours);
            while let Some(cause) = source {
                let _ = writeln!(err, "  because {cause}");
                source = cause.source();
            }
        } else {
            let _ = writeln!(err, "error: {error:#}");
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(fault) if fault.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Lays rows out in columns under a header, as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text =
            table(&["slug", "name"], &[vec!["a".into(), "Ä long name".into()], vec!["bcdef".into(), "x".into()]]);
        assert_eq!(text, "slug   name\na      Ä long name\nbcdef  x");
    }
}
