//! The head of a GGUF file: who the model is and how large, without loading it. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. The file is not trusted: every length is bounded.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

const MAGIC: &[u8; 4] = b"GGUF";
/// More than any model has.
const MOST_ENTRIES: u64 = 200_000;
const MOST_ELEMENTS: u64 = 10_000_000;
const LONGEST_NAME: u64 = 4096;
const LONGEST_TEXT: u64 = 1024 * 1024;
const MOST_DIMENSIONS: u32 = 8;
/// Assumed where the file does not say.
const DEFAULT_CONTEXT: u32 = 2048;

/// What the header tells, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Tokens that the model was trained to read.
    pub(super) context_length: u32,
    /// Numbers in all tensors.
    pub(super) parameters: u64,
    /// How a conversation is written; empty when the file has none.
    pub(super) chat_template: String,
}

impl Header {
    /// Reads the header and leaves the weights alone.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        Self::parse(BufReader::new(File::open(file)?))
    }

    fn parse(mut input: impl Read) -> io::Result<Self> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(|_| wrong("it is not a GGUF file"))?;
        if &magic != MAGIC {
            return Err(wrong("it is not a GGUF file"));
        }
        let version = u32_of(&mut input)?;
        if !(2..=3).contains(&version) {
            return Err(wrong("it is a GGUF file of a version that is not supported"));
        }
        let tensors = bounded(u64_of(&mut input)?, MOST_ENTRIES)?;
        let entries = bounded(u64_of(&mut input)?, MOST_ENTRIES)?;
        let mut header = Self { context_length: DEFAULT_CONTEXT, parameters: 0, chat_template: String::new() };
        for _ in 0..entries {
            let key = text(&mut input, LONGEST_NAME)?;
            let kind = u32_of(&mut input)?;
            if key == "tokenizer.chat_template" && kind == 8 {
                header.chat_template = text(&mut input, LONGEST_TEXT)?;
            } else if key.ends_with(".context_length") && kind == 4 {
                header.context_length = u32_of(&mut input)?;
            } else {
                skip_value(&mut input, kind)?;
            }
        }
        for _ in 0..tensors {
            text(&mut input, LONGEST_NAME)?;
            let dimensions = u32_of(&mut input)?;
            if dimensions > MOST_DIMENSIONS {
                return Err(wrong("a tensor has too many dimensions"));
            }
            let mut numbers = 1_u64;
            for _ in 0..dimensions {
                numbers = numbers.saturating_mul(u64_of(&mut input)?);
            }
            header.parameters = header.parameters.saturating_add(numbers);
            skip(&mut input, 4 + 8)?;
        }
        Ok(header)
    }
}

fn skip_value(input: &mut impl Read, kind: u32) -> io::Result<()> {
    match kind {
        8 => {
            let length = bounded(u64_of(input)?, LONGEST_TEXT)?;
            skip(input, length)
        }
        9 => {
            let (kind, length) = (u32_of(input)?, bounded(u64_of(input)?, MOST_ELEMENTS)?);
            match (kind, size(kind)) {
                (8, _) => (0..length).try_for_each(|_| skip_value(input, 8)),
                (_, Some(size)) => skip(input, length * size),
                _ => Err(wrong("a list of an unknown kind")),
            }
        }
        kind => skip(input, size(kind).ok_or_else(|| wrong("a value of an unknown kind"))?),
    }
}

/// Bytes of a plain value, by the kind's number in the format.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn text(input: &mut impl Read, longest: u64) -> io::Result<String> {
    let length = bounded(u64_of(input)?, longest)?;
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(wrong("it ends too early"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn skip(input: &mut impl Read, bytes: u64) -> io::Result<()> {
    if io::copy(&mut input.take(bytes), &mut io::sink())? == bytes { Ok(()) } else { Err(wrong("it ends too early")) }
}

fn bounded(value: u64, most: u64) -> io::Result<u64> {
    if value <= most { Ok(value) } else { Err(wrong("a length in it is absurd")) }
}

fn u32_of(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes).map_err(|_| wrong("it ends too early"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn u64_of(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes).map_err(|_| wrong("it ends too early"))?;
    Ok(u64::from_le_bytes(bytes))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// Two entries that matter, a list of words between them, and two tensors of 6 and 4 numbers.
    fn sample() -> Vec<u8> {
        let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &3_u64.to_le_bytes()].concat();
        file.extend(
            [named("llama.context_length"), 4_u32.to_le_bytes().to_vec(), 8192_u32.to_le_bytes().to_vec()].concat(),
        );
        file.extend([named("tokenizer.tokens"), 9_u32.to_le_bytes().to_vec(), 8_u32.to_le_bytes().to_vec()].concat());
        file.extend([2_u64.to_le_bytes().to_vec(), named("a"), named("bc")].concat());
        file.extend([named("tokenizer.chat_template"), 8_u32.to_le_bytes().to_vec(), named("{{ tools }}")].concat());
        for dimensions in [&[2_u64, 3][..], &[4]] {
            file.extend([named("weight"), u32::try_from(dimensions.len()).unwrap().to_le_bytes().to_vec()].concat());
            for dimension in dimensions {
                file.extend(dimension.to_le_bytes());
            }
            file.extend([0; 12]);
        }
        file
    }

    #[test]
    fn a_header_tells_context_size_and_template() {
        let header = Header::parse(&sample()[..]).unwrap();
        assert_eq!(header, Header { context_length: 8192, parameters: 10, chat_template: "{{ tools }}".to_owned() });
    }

    #[test]
    fn a_file_that_is_cut_anywhere_or_is_something_else_is_refused() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Header::parse(&whole[..length]).is_err(), "cut at {length}");
        }
        assert!(Header::parse(&b"PK\x03\x04 this is a zip"[..]).is_err());
    }

    #[test]
    fn absurd_lengths_are_refused_at_once() {
        let mut file = sample();
        file[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Header::parse(&file[..]).unwrap_err().to_string().contains("absurd"));
    }
}
