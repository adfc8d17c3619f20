//! Server-sent events, as the HTML standard describes them ("9.2.6 Interpreting an event stream"), out of chunks that
//! end anywhere: inside a line, a character, or between the two signs of a line's end.
//!
//! Names, ids and retry times of events are left out: all three vendors say in the data what an event is.

use serde::de::IgnoredAny;

use crate::models::chat::ModelError;

/// The longest line, and the longest data of one event. A tool call may carry a long argument.
const LONGEST: usize = 4 * 1024 * 1024;

/// Reads events. Give it the bytes as they come, and take the events' data.
#[derive(Debug, Default)]
pub(in crate::models) struct Events {
    /// The line that is not finished.
    line: Vec<u8>,
    /// The data lines of the event that is not finished.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return, so that a line feed after it ends no other line.
    after_return: bool,
    /// The first line may begin with a byte order mark.
    begun: bool,
    finished: std::collections::VecDeque<Vec<u8>>,
}

impl Events {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `Server` when a line or an event is longer than anything that a vendor sends.
    pub(in crate::models) fn push(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        for &byte in bytes {
            let pair = self.after_return && byte == b'\n';
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if pair => {}
                b'\n' | b'\r' => self.end_line(),
                byte => self.line.push(byte),
            }
            if self.line.len() > LONGEST || self.data.len() > LONGEST {
                return Err(ModelError::Server { message: "a line of the answer is too long".to_owned() });
            }
        }
        Ok(())
    }

    /// The connection has ended. An event whose empty line is missing counts if its data is whole: a beginning of an
    /// object is not JSON, so that nothing that was cut is taken for something that was meant.
    pub(in crate::models) fn finish(&mut self) {
        self.end_line();
        if is_whole(&self.data) {
            self.end_event();
        }
        self.data.clear();
        self.has_data = false;
    }

    /// The data of the next event that is complete.
    pub(in crate::models) fn next(&mut self) -> Option<Vec<u8>> {
        self.finished.pop_front()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        // Everything else is a comment (`: keep-alive`), a name, an id, or a field that the standard tells to ignore.
        let Some(value) = line.strip_prefix(b"data") else { return };
        let value = match value {
            [] => value,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return,
        };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn end_event(&mut self) {
        if std::mem::replace(&mut self.has_data, false) {
            self.finished.push_back(std::mem::take(&mut self.data));
        }
    }
}

/// Whether it is JSON from its beginning to its end, or the mark of the end.
fn is_whole(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]" || (data.ends_with(b"}") && serde_json::from_slice::<IgnoredAny>(data).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], cut: usize) -> Vec<String> {
        let mut events = Events::default();
        for part in [&stream[..cut], &stream[cut..]] {
            events.push(part).expect("short lines");
        }
        events.finish();
        std::iter::from_fn(|| events.next()).map(|data| String::from_utf8(data).expect("UTF-8")).collect()
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_were_split() {
        for (stream, expected) in [
            ("data: {\"a\":1}\n\ndata: {\"b\":\"ü\"}\n\n", vec!["{\"a\":1}", "{\"b\":\"ü\"}"]),
            ("data:{\"a\":1}\r\n\r\n: keep-alive\r\n\r\ndata:[DONE]\r\n\r\n", vec!["{\"a\":1}", "[DONE]"]),
            ("event: x\rdata: {\"a\":\rdata: 1}\r\rid: 7\r\r", vec!["{\"a\":\n1}"]),
            ("\u{feff}data:  two\n\n", vec![" two"]),
            ("database: no\ndata\n\n", vec![""]),
            ("data: {\"a\":1}\n\ndata: {\"b\":2}", vec!["{\"a\":1}", "{\"b\":2}"]),
            ("data: {\"a\":1}\n\ndata: {\"b\":", vec!["{\"a\":1}"]),
        ] {
            for cut in 0..=stream.len() {
                assert_eq!(read(stream.as_bytes(), cut), expected, "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut events = Events::default();
        assert!((0..8).any(|_| events.push(&vec![b'x'; 1 << 20]).is_err()));
    }
}
