//! A workspace of OpenClaw as an agent. Its files are free Markdown; what the templates of that project put into them is
//! understood, and everything else is taken as it stands.
//!
//! | file | becomes |
//! |---|---|
//! | `SOUL.md` | the profile |
//! | `IDENTITY.md` | name, post, the sentence for small models |
//! | `AGENTS.md` | a part of the profile, `How You Work` |
//! | `MEMORY.md` | what the agent remembers |
//! | `USER.md` | what is remembered of the person who brings it |
//! | others | nothing; the preview says so |
//!
//! The other way round an agent is written as `SOUL.md` and `IDENTITY.md`, and read again it is the same.

use std::{
    borrow::Cow,
    io::{Cursor, Read},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Draft;
use crate::{
    agents::soul::SOUL_CHARACTERS,
    support::{Error, Kind, Result},
};

/// The most bytes of one file, unpacked.
const FILE_BYTES: u64 = 256 << 10;
/// The most bytes of an archive.
pub const ARCHIVE_BYTES: usize = 4 << 20;
/// The most entries of an archive that are looked at.
const ENTRIES: usize = 2_000;
/// The most characters of what is remembered.
const MEMORY_CHARACTERS: usize = 40_000;
/// The most files that are looked at.
const FILES: usize = 100;
/// The files that are read.
const READ: [&str; 5] = ["SOUL.md", "IDENTITY.md", "AGENTS.md", "MEMORY.md", "USER.md"];
/// Files of a workspace that are known and not taken over.
const LEFT: [&str; 4] = ["TOOLS.md", "HEARTBEAT.md", "BOOT.md", "BOOTSTRAP.md"];

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fate {
    /// The file.
    pub file: String,
    /// What it becomes.
    pub becomes: String,
}

/// What a workspace becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// The agent, which nobody has saved yet.
    pub draft: Draft,
    /// What becomes of each file.
    pub files: Vec<Fate>,
    /// What the agent remembers: the text of `MEMORY.md`.
    pub memory: String,
    /// What is known of the person who brings it: the text of `USER.md`.
    pub about_you: String,
}

/// Reads files, and archives of files, by their names.
///
/// # Errors
/// `Invalid` when there is no `SOUL.md` and no `IDENTITY.md` among them, or an archive is damaged; `TooLarge`.
pub fn read(uploads: Vec<(String, Vec<u8>)>) -> Result<Workspace> {
    if uploads.len() > FILES {
        return Err(Error::new(Kind::TooLarge, format!("more than {FILES} files came at once"))
            .remedy("choose the Markdown files of the workspace's own folder"));
    }
    let mut files: Vec<(String, String)> = Vec::new();
    for (name, bytes) in uploads {
        if bytes.starts_with(b"PK\x03\x04") {
            unpack(&name, bytes, &mut files)?;
        } else {
            if bytes.len() as u64 > FILE_BYTES {
                return Err(too_large(&name));
            }
            take(&mut files, base(&name), &bytes);
        }
    }
    understand(&files)
}

/// Nothing is written to a disk, so a name in an archive is a name and no path.
fn unpack(name: &str, bytes: Vec<u8>, files: &mut Vec<(String, String)>) -> Result<()> {
    let damaged = || Error::invalid(format!("{name} is no archive that can be read")).remedy("pack it as .zip again");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| damaged())?;
    if archive.len() > ENTRIES {
        return Err(Error::new(Kind::TooLarge, format!("{name} has more than {ENTRIES} files")));
    }
    let mut names: Vec<_> = archive.file_names().filter_map(Result::ok).map(Cow::into_owned).collect();
    // Of several files of one name, the one nearest to the root.
    names.sort_by_key(|name| (name.matches('/').count(), name.clone()));
    for path in names {
        let wanted = READ.iter().chain(&LEFT).any(|known| *known == base(&path));
        if !wanted || files.iter().any(|(known, _)| known == base(&path)) {
            continue;
        }
        let member = archive.by_name(&path).map_err(|_| damaged())?;
        let mut content = Vec::new();
        // Whatever the archive says of its size.
        member.take(FILE_BYTES + 1).read_to_end(&mut content).map_err(|_| damaged())?;
        if content.len() as u64 > FILE_BYTES {
            return Err(too_large(&path));
        }
        take(files, base(&path), &content);
    }
    Ok(())
}

fn take(files: &mut Vec<(String, String)>, name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace(['\0', '\u{feff}'], "");
    if !files.iter().any(|(known, _)| known == name) {
        files.push((name.to_owned(), text));
    }
}

fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn too_large(name: &str) -> Error {
    Error::new(Kind::TooLarge, format!("{name} is larger than {} KiB", FILE_BYTES >> 10))
        .remedy("a profile has 20,000 characters at most; leave the file out, or shorten it")
}

fn understand(files: &[(String, String)]) -> Result<Workspace> {
    let text = |name: &str| files.iter().find(|(known, _)| known == name).map(|(_, text)| without_front_matter(text));
    let (soul, identity, agents) = (text("SOUL.md"), text("IDENTITY.md"), text("AGENTS.md"));
    if soul.is_none() && identity.is_none() {
        return Err(Error::invalid("there is no SOUL.md and no IDENTITY.md among the files")
            .remedy("choose the files of the workspace's own folder, or pack the folder as .zip"));
    }
    let mut draft = Draft { tools: vec!["*".to_owned()], hue: 120, note: "Imported".to_owned(), ..Draft::default() };
    let mut kept = [String::new(), String::new()];
    let mut fates = Vec::new();
    let mut fate = |file: &str, becomes: String| fates.push(Fate { file: file.to_owned(), becomes });
    if let Some(identity) = identity {
        let value = |label: &str| labelled(identity, label);
        draft.name = value("Name").unwrap_or_default();
        draft.title = value("Role").or_else(|| value("Creature")).unwrap_or_default();
        draft.summary = shortened(&value("Purpose").unwrap_or_default(), 240);
        draft.brief = shortened(&value("In a sentence").unwrap_or_default(), 400);
        draft.route = value("Route").unwrap_or_default();
        draft.hue = value("Hue").and_then(|hue| hue.parse().ok()).filter(|hue| *hue < 360).unwrap_or(draft.hue);
        if let Some(tools) = value("Tools") {
            draft.tools = tools
                .split(',')
                .map(|tool| tool.trim_matches(['`', ' ']).to_owned())
                .filter(|tool| tool != "none")
                .collect();
        }
        let vibe = value("Vibe").map(|vibe| format!(" Manner: {}.", vibe.trim_end_matches('.'))).unwrap_or_default();
        if draft.brief.is_empty() && !draft.name.is_empty() && !vibe.is_empty() {
            draft.brief = shortened(&format!("You are {}.{vibe}", draft.name), 400);
        }
        (draft.name, draft.title) = (shortened(&draft.name, 40), shortened(&draft.title, 80));
        let told = if draft.name.is_empty() { "it gives no name yet" } else { "name, post, sentence for small models" };
        fate("IDENTITY.md", told.to_owned());
    }
    if let Some(soul) = soul {
        soul.trim().clone_into(&mut draft.soul);
        fate("SOUL.md", "the profile".to_owned());
    }
    if let Some(agents) = agents.filter(|agents| !agents.trim().is_empty()) {
        let part = format!("{}\n\n## How You Work\n\n{}", draft.soul, below(agents.trim()));
        if part.trim().chars().count() <= SOUL_CHARACTERS {
            part.trim().clone_into(&mut draft.soul);
            fate("AGENTS.md", "the last part of the profile, How You Work".to_owned());
        } else {
            fate("AGENTS.md", "nothing: with it the profile would have more than 20,000 characters".to_owned());
        }
    }
    if draft.soul.is_empty() {
        draft.soul = format!("# SOUL.md - Who You Are\n\nYou are {}.\n", draft.name);
    }
    let memories = [("MEMORY.md", "what it remembers, point by point"), ("USER.md", "what is remembered of you")];
    for ((file, becomes), kept) in memories.into_iter().zip(&mut kept) {
        if let Some(text) = text(file) {
            let text = text.trim();
            let long = text.chars().count() > MEMORY_CHARACTERS;
            let becomes = match (text.is_empty(), long) {
                (true, _) => "nothing: it is empty".to_owned(),
                (_, true) => format!("nothing: it has more than {MEMORY_CHARACTERS} characters; add it as a document"),
                _ => becomes.to_owned(),
            };
            if !long {
                text.clone_into(kept);
            }
            fate(file, becomes);
        }
    }
    for (name, _) in files.iter().filter(|(name, _)| !READ.contains(&name.as_str())) {
        fate(name, "nothing: it is not part of an agent".to_owned());
    }
    let [memory, about_you] = kept;
    Ok(Workspace { draft, files: fates, memory, about_you })
}

/// An agent as the files of a workspace, by their names.
pub fn write(draft: &Draft) -> [(&'static str, String); 2] {
    let tools: Vec<_> = draft.tools.iter().map(|tool| format!("`{tool}`")).collect();
    let tools = if tools.is_empty() { "none".to_owned() } else { tools.join(", ") };
    let lines = [
        ("Name", draft.name.clone()),
        ("Role", draft.title.clone()),
        ("Purpose", draft.summary.clone()),
        ("In a sentence", draft.brief.clone()),
        ("Hue", draft.hue.to_string()),
        ("Route", draft.route.clone()),
        ("Tools", tools),
    ];
    let lines = lines.iter().filter(|(_, value)| !value.is_empty());
    let lines: Vec<_> = lines.map(|(label, value)| format!("- **{label}:** {value}")).collect();
    let identity = format!("# IDENTITY.md - Who Am I?\n\n{}\n", lines.join("\n"));
    [("SOUL.md", format!("{}\n", draft.soul.trim())), ("IDENTITY.md", identity)]
}

/// What stands after `- **Label:**`, on the same line or the next; the templates' own hints in brackets are no answer.
fn labelled(text: &str, label: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let plain = line.trim_start_matches(['-', '*', ' ']).replacen("**", "", 1);
        let Some(rest) = plain.strip_prefix(label).and_then(|rest| rest.trim_start().strip_prefix(':')) else {
            continue;
        };
        let value = if rest.trim().is_empty() { lines.next().unwrap_or_default() } else { rest };
        let value = value.trim();
        let hint = value.starts_with("_(") || value.starts_with('(') || value.starts_with("- ");
        let value = ["**", "_", "*", "`"].iter().fold(value, |value, mark| {
            value.strip_prefix(mark).and_then(|value| value.strip_suffix(mark)).unwrap_or(value)
        });
        return (!hint && !value.is_empty()).then(|| value.to_owned());
    }
    None
}

fn without_front_matter(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("---\n") else { return text };
    rest.split_once("\n---\n").map_or(text, |(_, body)| body.trim_start())
}

/// The same with its headings one step lower, and without its title.
fn below(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    let lower = lines.map(|line| if line.starts_with("##") { format!("#{line}") } else { line.to_owned() });
    lower.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn shortened(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::agents::soul::BUILT_IN;

    const IDENTITY: &str = "---\ntitle: \"x\"\n---\n\n# IDENTITY.md - Who Am I?\n\n- **Name:** Clawd\n- **Creature:**\n  \
                            _lobster_\n- **Vibe:** _(how do you come across?)_\n- **Emoji:** x\n";

    fn file(name: &str, text: &str) -> (String, Vec<u8>) {
        (name.to_owned(), text.as_bytes().to_vec())
    }

    #[test]
    fn a_workspace_becomes_a_profile_and_every_file_is_accounted_for() {
        let files = vec![
            file("IDENTITY.md", IDENTITY),
            file("SOUL.md", "# SOUL.md\n\nBe genuine.\n"),
            file("work/AGENTS.md", "# AGENTS.md\n\n## Every Session\n\nRead.\n"),
            file("USER.md", "- **Name:** Ada\n"),
            file("TOOLS.md", "ssh\n"),
        ];
        let Workspace { draft, files: fates, memory, about_you } = read(files).unwrap();
        assert_eq!((draft.name.as_str(), draft.title.as_str()), ("Clawd", "lobster"));
        assert_eq!(draft.soul, "# SOUL.md\n\nBe genuine.\n\n## How You Work\n\n### Every Session\n\nRead.");
        assert_eq!(draft.brief, "");
        let files: Vec<_> = fates.iter().map(|fate| fate.file.as_str()).collect();
        assert_eq!(files, ["IDENTITY.md", "SOUL.md", "AGENTS.md", "USER.md", "TOOLS.md"]);
        assert_eq!((memory.as_str(), about_you.as_str()), ("", "- **Name:** Ada"));
        assert!(fates[4].becomes.starts_with("nothing"));
    }

    #[test]
    fn an_agent_that_is_written_and_read_again_is_the_same() {
        for built_in in &BUILT_IN {
            let draft = Draft { note: "Imported".to_owned(), ..Draft::of(&built_in.profile()) };
            let files = write(&draft).map(|(name, text)| file(name, &text)).to_vec();
            assert_eq!(read(files).unwrap().draft, draft);
        }
        let bare = Draft { name: "Zoe".to_owned(), soul: "x".to_owned(), hue: 7, ..Draft::default() };
        let bare = Draft { note: "Imported".to_owned(), ..bare };
        assert_eq!(read(write(&bare).map(|(name, text)| file(name, &text)).to_vec()).unwrap().draft, bare);
    }

    #[test]
    fn archives_are_read_within_bounds_and_their_names_are_no_paths() {
        let pack = |entries: &[(&str, Vec<u8>)]| {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, content) in entries {
                zip.start_file(*name, SimpleFileOptions::default()).unwrap();
                zip.write_all(content).unwrap();
            }
            zip.finish().unwrap().into_inner()
        };
        let nested = pack(&[
            ("a/b/SOUL.md", b"deep".to_vec()),
            ("../../SOUL.md", b"up".to_vec()),
            ("a/SOUL.md", b"near".to_vec()),
        ]);
        assert_eq!(read(vec![("w.zip".to_owned(), nested)]).unwrap().draft.soul, "near");
        let bomb = pack(&[("SOUL.md", vec![b'x'; 64 << 20])]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(read(vec![("w.zip".to_owned(), bomb)]).unwrap_err().kind(), Kind::TooLarge);
        let many: Vec<_> = (0..=ENTRIES).map(|number| format!("{number}.md")).collect();
        let many = pack(&many.iter().map(|name| (name.as_str(), Vec::new())).collect::<Vec<_>>());
        assert_eq!(read(vec![("w.zip".to_owned(), many)]).unwrap_err().kind(), Kind::TooLarge);
        for broken in [b"PK\x03\x04".to_vec(), b"PK\x03\x04garbage and more of it".to_vec()] {
            assert_eq!(read(vec![("w.zip".to_owned(), broken)]).unwrap_err().kind(), Kind::Invalid);
        }
        assert_eq!(read(Vec::new()).unwrap_err().kind(), Kind::Invalid);
        assert!(read(vec![("SOUL.md".to_owned(), vec![0xff, 0xfe, 0x00])]).is_ok());
    }
}
