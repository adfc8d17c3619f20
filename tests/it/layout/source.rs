//! Just enough of Rust's grammar to see which names a source uses: comments and literals are blanked out, and `use`
//! trees are followed.

/// The source with comments, strings and characters replaced by spaces; lines stay where they are.
pub fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => end_of_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => end_of_comment(bytes, at),
            b'"' => end_of_string(bytes, at),
            b'r' if !continues_a_word(bytes, at) => end_of_raw_string(bytes, at).unwrap_or(at),
            b'\'' => end_of_character(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).unwrap()
}

/// The words of the code: identifiers and keywords, each with its line.
pub fn words(code: &str) -> Vec<(usize, &str)> {
    code.lines()
        .enumerate()
        .flat_map(|(line, text)| {
            text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .filter(|word| !word.is_empty())
                .map(move |word| (line + 1, word))
        })
        .collect()
}

/// The paths that begin at the crate's root: what follows `crate::`, one or two names deep (`db`, `agents::tool`), with
/// the line. `depth` is how many `super` lead from this file's module to the root.
pub fn crate_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let supers = format!("{}::", vec!["super"; depth.max(1)].join("::"));
    for start in ["crate::", &supers] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            let inside_a_path = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if !inside_a_path && (start == "crate::" || depth > 0) {
                let line = 1 + code[..at].matches('\n').count();
                follow(&code[at + start.len()..], line, &mut found);
            }
        }
    }
    found
}

/// Reads one path or one `{…}` of a `use` tree.
fn follow(rest: &str, line: usize, found: &mut Vec<(usize, String)>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        for branch in branches(group) {
            follow(branch, line, found);
        }
        return;
    }
    let first = word_at(rest);
    if first.is_empty() {
        return;
    }
    let after = rest[first.len()..].trim_start();
    let Some(after) = after.strip_prefix("::") else {
        found.push((line, first.to_owned()));
        return;
    };
    let after = after.trim_start();
    let seconds = match after.strip_prefix('{') {
        Some(group) => branches(group).into_iter().map(|branch| word_at(branch.trim_start())).collect(),
        None => vec![word_at(after)],
    };
    for second in seconds {
        let path = if second.is_empty() || second == "self" { first.to_owned() } else { format!("{first}::{second}") };
        found.push((line, path));
    }
}

/// The parts of a group up to its closing brace, split at its own commas.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn word_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"`, `r#"…"#`; a raw identifier such as `r#type` is none.
fn end_of_raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close)?;
    Some(open + 1 + length + close.len())
}

/// `'a'`, `'\n'`, `'\u{e4}'`; a lifetime is none.
fn end_of_character(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        return bytes[at + 3..].iter().position(|&byte| byte == b'\'').map(|length| at + 3 + length + 1);
    }
    let text = std::str::from_utf8(&bytes[at + 1..]).ok()?;
    let length = text.chars().next()?.len_utf8();
    (bytes.get(at + 1 + length) == Some(&b'\'')).then_some(at + length + 2)
}

fn continues_a_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a // b\n/* c /* d */ */ e \"f \\\" g\" r#\"h \"i\"# 'j' '\\n' &'k l r#m br\"n\"";
        assert_eq!(code_of(text).split_whitespace().collect::<Vec<_>>(), ["a", "e", "&'k", "l", "r#m", "br"]);
        assert_eq!(code_of("x\n// y\nz").lines().count(), 3);
    }

    #[test]
    fn use_trees_are_followed_to_the_second_name() {
        let code = "use crate::{\n db::{TenantDb, x::{y}},\n support::Result,\n agents::tool::{self, Tool},\n config,\n};\nfn f() { crate::jobs::push() }";
        let paths: Vec<String> = crate_paths(code, 1).into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, ["db::TenantDb", "db::x", "support::Result", "agents::tool", "config", "jobs::push"]);
    }

    #[test]
    fn a_way_up_to_the_root_counts_and_a_shorter_one_does_not() {
        assert_eq!(crate_paths("use super::super::db::Pool;", 2), [(1, "db::Pool".to_owned())]);
        assert_eq!(crate_paths("use super::store::Row;", 2), []);
        assert_eq!(crate_paths("use super::db::Pool;", 1), [(1, "db::Pool".to_owned())]);
        assert_eq!(crate_paths("use $crate::db; use other_crate::db;", 1), []);
    }
}
