//! Plain text in the encodings that are met: UTF-8, UTF-16, and for the rest what a browser would guess.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{Block, Failure, Finished, Sink};

/// A block is closed at the next blank line after this many bytes.
const BLOCK_BYTES: usize = 4096;
/// A block is closed at the next line after this many bytes, blank or not.
const BLOCK_BYTES_AT_MOST: usize = 32 * 1024;
/// How much of a text in an unknown encoding is looked at to guess it.
const GUESSED_BYTES: usize = 1 << 20;

/// Reads plain text; blocks are runs of paragraphs and know their first line.
pub(super) fn read(bytes: &[u8], sink: &mut dyn Sink) -> Result<Finished, Failure> {
    let text = decode(bytes);
    if text.trim().is_empty() {
        return Err(Failure::empty());
    }
    let mut block = Block::default();
    for (index, line) in text.lines().enumerate() {
        let blank = line.trim().is_empty();
        if block.text.is_empty() {
            if blank {
                continue;
            }
            block.line = u32::try_from(index + 1).ok();
        } else {
            block.text.push('\n');
        }
        push_clean(&mut block.text, line.trim_end());
        let long_enough = block.text.len() >= BLOCK_BYTES;
        if (blank && long_enough) || block.text.len() >= BLOCK_BYTES_AT_MOST {
            emit(&mut block, sink)?;
        }
    }
    emit(&mut block, sink)?;
    Ok(Finished::default())
}

/// Decodes by byte order mark, then as UTF-8, then by the pattern of NUL bytes, then by a guess.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    decode_as(bytes, None)
}

/// The same, with the encoding that the file says it has instead of a guess.
pub(super) fn decode_as<'a>(bytes: &'a [u8], declared: Option<&'static Encoding>) -> Cow<'a, str> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0;
    }
    if std::str::from_utf8(bytes).is_ok() {
        return UTF_8.decode_without_bom_handling(bytes).0;
    }
    // What says UTF-8 or UTF-16 and is neither is wrong.
    let declared = declared.filter(|encoding| ![UTF_8, UTF_16LE, UTF_16BE].contains(encoding));
    let encoding = utf16_without_mark(bytes).or(declared).unwrap_or_else(|| guessed(bytes));
    encoding.decode_without_bom_handling(bytes).0
}

/// Nearly all of a UTF-8 text with a slip in it is better than the whole of it in another encoding.
fn guessed(bytes: &[u8]) -> &'static Encoding {
    let sample = &bytes[..bytes.len().min(GUESSED_BYTES)];
    let (mut wide, mut broken) = (0, 0);
    for chunk in sample.utf8_chunks() {
        wide += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    if wide > broken * 8 {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(sample, sample.len() == bytes.len());
    detector.guess(None, Utf8Detection::Deny)
}

/// Whether the beginning of a file looks like text in one of the encodings that [`decode`] knows.
pub(super) fn is_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(64 * 1024)];
    if Encoding::for_bom(head).is_some() || utf16_without_mark(head).is_some() {
        return true;
    }
    let strange = head.iter().filter(|byte| matches!(byte, 0 | 1..=6 | 14..=26 | 28..=31 | 127)).count();
    strange * 100 <= head.len() && !head.contains(&0)
}

/// UTF-16 that lacks its mark: Western text in it has a NUL at every other byte.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(4096) & !1];
    let pairs = head.len() / 2;
    if pairs < 4 {
        return None;
    }
    let nul_at = |offset: usize| head.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    match (nul_at(0), nul_at(1)) {
        (0, high) if high * 10 >= pairs * 7 => Some(UTF_16LE),
        (high, 0) if high * 10 >= pairs * 7 => Some(UTF_16BE),
        _ => None,
    }
}

/// Databases refuse NUL, and the other control characters mean nothing in text.
pub(super) fn push_clean(text: &mut String, line: &str) {
    if line.contains(|c: char| c.is_control() && c != '\t' && c != '\n') {
        text.extend(line.chars().filter(|c| !c.is_control() || *c == '\t' || *c == '\n'));
    } else {
        text.push_str(line);
    }
}

fn emit(block: &mut Block, sink: &mut dyn Sink) -> Result<(), Failure> {
    let mut block = std::mem::take(block);
    block.text.truncate(block.text.trim_end().len());
    if block.text.is_empty() { Ok(()) } else { sink.block(block) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(bytes: &[u8]) -> Vec<Block> {
        let mut blocks = Vec::new();
        read(bytes, &mut blocks).expect("text");
        blocks
    }

    #[test]
    fn every_common_encoding_gives_the_same_text() {
        let said = "Grüße aus Köln — “quoted”";
        let mut utf16 = vec![0xFF, 0xFE];
        utf16.extend(said.encode_utf16().flat_map(u16::to_le_bytes));
        let bare: Vec<u8> = said.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let western = encoding_rs::WINDOWS_1252.encode(said).0.into_owned();
        for bytes in [said.as_bytes().to_vec(), utf16, western, [&[0xEF, 0xBB, 0xBF], said.as_bytes()].concat()] {
            assert!(is_text(&bytes));
            assert_eq!(decode(&bytes), said);
        }
        assert!(is_text(&bare), "UTF-16 without its mark");
        assert_eq!(decode(&bare), said);
        let (russian, japanese) = ("Отпуск по уходу за ребёнком", "育児休業は十六週間です");
        assert_eq!(decode(&encoding_rs::KOI8_R.encode(russian).0), russian);
        assert_eq!(decode(&encoding_rs::SHIFT_JIS.encode(japanese).0), japanese);
        assert_eq!(decode(&[said.repeat(9).as_bytes(), b"\xff"].concat()), said.repeat(9) + "\u{fffd}");
    }

    #[test]
    fn blocks_know_the_line_they_begin_on() {
        let mut text = String::from("\n\nfirst\n");
        text.push_str(&"filler line of text\n".repeat(300));
        text.push_str("\nsecond\n");
        let blocks = blocks(text.as_bytes());
        assert_eq!(blocks.iter().map(|block| block.line).collect::<Vec<_>>(), [Some(3), Some(305)]);
        assert_eq!(blocks[1].text, "second");
    }

    #[test]
    fn nothing_but_spaces_is_no_text() {
        assert_eq!(read(b" \n\t\n", &mut Vec::new()), Err(Failure::empty()));
    }

    #[test]
    fn control_characters_do_not_reach_the_database() {
        assert_eq!(blocks(b"a\x00b\x07c\td")[0].text, "abc\td");
    }
}
