//! Small real files of every format, damaged at random but the same way every time: whatever comes out of the
//! child, it is text or a sentence. The fuzzer in `fuzz/` goes further, with a compiler of its own.

use aegis::knowledge::extract::{Limits, process::ExtractError};

use super::{
    extract::{LIMITS, read_within},
    files,
};

/// How often every file is damaged.
const TIMES: u64 = 24;

/// Xorshift: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).unwrap()
    }
}

/// One to four wounds: bits flipped, bytes overwritten with telling ones, pieces cut out, doubled, or cut off.
fn damaged(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(64)).min(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = [0, 0xFF, b'<', b'>', b'9', b'(', b'"', b'&'][dice.below(8)],
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].repeat(1 + dice.below(200));
                bytes.splice(at..at, piece);
            }
            _ => {
                let number = [u32::MAX, 0, 1 << 31, 0xFFFF][dice.below(4)].to_le_bytes();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
    }
    bytes
}

/// The XML of an Office file is damaged before it is packed, or every wound would end at the checksum.
fn packed(dice: &mut Dice, parts: &[(&str, String)]) -> Vec<u8> {
    let hurt = dice.below(parts.len());
    let wounded = String::from_utf8_lossy(&damaged(parts[hurt].1.as_bytes(), dice)).into_owned();
    let mut parts = parts.to_vec();
    parts[hurt].1 = wounded;
    files::zip(&parts.iter().map(|(name, xml)| (*name, xml.as_str())).collect::<Vec<_>>())
}

fn parts_of(archive: &[u8]) -> Vec<(String, String)> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    (0..zip.len())
        .map(|index| {
            let mut member = zip.by_index(index).unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut member, &mut text).unwrap();
            (member.name().unwrap().into_owned(), text)
        })
        .collect()
}

#[tokio::test]
async fn damaged_files_of_every_format_give_text_or_a_sentence() {
    let rows = files::rows(&[&["Item", "Cost"], &["Paper", "12"], &["Ink", "7"]])
        + "<row r=\"9\"><c r=\"A9\" t=\"s\"><v>0</v></c><c r=\"B9\"><f>1+1</f><v>2</v></c></row>";
    let slide = files::shape(true, "Plan") + "<a:tbl><a:tr><a:tc><a:p><a:t>a</a:t></a:p></a:tc></a:tr></a:tbl>";
    let page = "<html><head><meta charset=utf-8><title>T</title></head><body><h1>A</h1><table><tr><th>a<th>b<tr><td>1<td>2</table><ol><li>x</ol><pre>y</pre></body></html>";
    let seeds: [(&str, Vec<u8>); 9] = [
        ("a.pdf", files::pdf(&["The first page.", "The second page of it."])),
        ("b.pdf", files::restricted_pdf()),
        ("a.docx", files::docx(&["# Leave", "## Parental leave", "Sixteen weeks."])),
        ("a.xlsx", files::xlsx(&rows)),
        ("a.pptx", files::pptx(&slide)),
        ("a.html", page.as_bytes().to_vec()),
        ("a.csv", b"Name;Pay\n\"Ann; B\";10\nBen;\"9\"\n".to_vec()),
        ("a.md", b"# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> q\n\n- x\n  - y\n".to_vec()),
        ("a.txt", "Grüße\n\nzwei".encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    let limits = Limits { cpu_seconds: 10, ..LIMITS };
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let (mut read, mut refused) = (0, 0);
    for (name, whole) in &seeds {
        let parts = if whole.starts_with(b"PK") { parts_of(whole) } else { Vec::new() };
        let parts: Vec<(&str, String)> = parts.iter().map(|(name, xml)| (name.as_str(), xml.clone())).collect();
        for time in 0..TIMES {
            let bytes =
                if parts.is_empty() || time % 2 == 0 { damaged(whole, &mut dice) } else { packed(&mut dice, &parts) };
            match read_within(limits, name, bytes).await {
                Ok(_) => read += 1,
                Err(ExtractError::File(failure) | ExtractError::Crashed(failure)) => {
                    assert!(failure.reason.ends_with('.'), "{name}, time {time}: {failure}");
                    refused += 1;
                }
                Err(ExtractError::Machine(error)) => panic!("{name}, time {time}: {error}"),
            }
        }
    }
    assert_eq!(read + refused, TIMES * seeds.len() as u64);
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused: the wounds are too light or too deep");
}
