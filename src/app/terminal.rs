//! Asking somebody at a terminal for what must not be seen.

use std::{
    io::{self, IsTerminal, Read as _, Write as _},
    os::fd::{AsFd as _, BorrowedFd},
};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::support::{Error, Result};

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Asks on the terminal, without showing what is typed. `None` when standard input is no terminal, or nothing was typed.
///
/// # Errors
/// `Invalid` when it was interrupted, or is no text.
pub fn ask(question: &str) -> Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    eprint!("{question}");
    io::stderr().flush().map_err(Error::internal)?;
    let typed = {
        let _unseen = Unseen::begin(stdin.as_fd()).map_err(Error::internal)?;
        line(stdin.lock().bytes())
    };
    eprintln!();
    let typed = typed?;
    Ok((!typed.is_empty()).then_some(typed))
}

/// Reads to the end of the line, key by key: the terminal edits nothing while it shows nothing.
fn line(keys: impl Iterator<Item = io::Result<u8>>) -> Result<String> {
    let mut typed = Vec::new();
    for key in keys {
        match key.map_err(Error::internal)? {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(Error::invalid("interrupted")),
            BACKSPACE | DELETE => while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            byte => typed.push(byte),
        }
    }
    String::from_utf8(typed).map_err(|_| Error::invalid("what was typed is not UTF-8"))
}

/// The terminal shows nothing until this is dropped.
struct Unseen<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Unseen<'t> {
    fn begin(terminal: BorrowedFd<'t>) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut unseen = before.clone();
        unseen.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &unseen)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    fn typed(keys: &str) -> Option<String> {
        line(keys.bytes().map(Ok)).ok()
    }

    #[test]
    fn a_line_is_read_as_typed_with_corrections_and_may_be_given_up() {
        assert_eq!(typed("words\nmore").unwrap(), "words");
        assert_eq!(typed("wö\u{7f}\u{7f}ord\r").unwrap(), "ord");
        assert_eq!(typed("\u{7f}x").unwrap(), "x");
        assert_eq!(typed("half\u{3}"), None);
    }
}
