//! Web pages as files: html5ever's tokenizer tells tags from text as browsers do; no tree is built, so no
//! depth of nesting can exhaust anything.

#[cfg(test)]
mod tests;
mod walk;

use encoding_rs::Encoding;
use html5ever::{
    tendril::StrTendril,
    tokenizer::{BufferQueue, Tokenizer, TokenizerOpts},
};

use super::{Failure, Finished, Sink, text};
use walk::Page;

/// The page is given to the tokenizer in pieces of this size, so that a full sink stops it soon.
const PIECE: usize = 64 * 1024;
/// How much of a page is searched for the name of its encoding.
const PRESCAN: usize = 4096;

/// Reads a web page: what a person sees of it, under its headings.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    let page = text::decode_as(bytes, declared(&bytes[..bytes.len().min(PRESCAN)]));
    let tokenizer = Tokenizer::new(Page::new(sink), TokenizerOpts::default());
    let queue = BufferQueue::default();
    let mut rest: &str = &page;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE.min(rest.len())));
        rest = after;
        queue.push_back(StrTendril::from_slice(piece));
        // The sink runs no scripts and asks for no other encoding, so the tokenizer never waits for it.
        let _ = tokenizer.feed(&queue);
        if tokenizer.sink.is_full() {
            break;
        }
    }
    tokenizer.end();
    tokenizer.sink.finish()
}

/// The encoding that a `<meta>` or an XML declaration names.
fn declared(head: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let named = |key: &str| {
        let at = head.find(key)? + key.len();
        let value = head[at..].trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c))).unwrap_or(value.len());
        Encoding::for_label(&value.as_bytes()[..end])
    };
    named("charset").or_else(|| named("encoding"))
}
