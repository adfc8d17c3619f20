//! What stands in a `MEMORY.md` or `USER.md`, as single facts.

use super::MOST_CHARACTERS;

/// One for each point of a list and each paragraph. Headings go before the points below them, since `Tea, no sugar` says
/// little without `Preferences`. Hints in brackets, comments, code and what is empty are left out.
pub(super) fn facts(text: &str) -> Vec<String> {
    let mut facts: Vec<String> = Vec::new();
    let (mut heading, mut paragraph) = (String::new(), String::new());
    let mut code = false;
    let plain = text.replace("\r\n", "\n");
    let mut rest = without_front_matter(&plain).to_owned();
    while let Some((before, after)) = rest.split_once("<!--") {
        rest = format!("{before}{}", after.split_once("-->").map_or("", |(_, after)| after));
    }
    for line in rest.lines().chain([""]) {
        if line.trim_start().starts_with("```") {
            code = !code;
            continue;
        }
        let trimmed = line.trim();
        let point = point(trimmed);
        let ends = code || trimmed.is_empty() || trimmed.starts_with('#') || point.is_some() || trimmed == "---";
        if ends {
            take(&mut facts, &heading, &std::mem::take(&mut paragraph));
        }
        if code || trimmed == "---" {
            continue;
        }
        if let Some(title) = trimmed.strip_prefix('#') {
            let title = title.trim_start_matches('#').trim();
            // The title of the file says nothing of what stands in it.
            let of_the_file = trimmed.starts_with("# ");
            heading = if of_the_file { String::new() } else { title.to_owned() };
        } else {
            let text = point.unwrap_or(trimmed);
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(text);
        }
    }
    facts
}

/// What stands behind the sign of a point: `- `, `* `, `1. `.
fn point(line: &str) -> Option<&str> {
    let signed = ["- [ ] ", "- [x] ", "- ", "* ", "+ "].iter().find_map(|sign| line.strip_prefix(sign));
    signed.or_else(|| {
        let (number, rest) = line.split_once(". ")?;
        (!number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
    })
}

fn take(facts: &mut Vec<String>, heading: &str, text: &str) {
    let text = text.replace("**", "").replace("__", "");
    let text = text.trim();
    let hint = text.starts_with("_(") || (text.starts_with('(') && text.ends_with(')'));
    // `Name:` with nothing behind it is a question of the template.
    if text.is_empty() || hint || text.ends_with(':') {
        return;
    }
    let text = if heading.is_empty() { text.to_owned() } else { format!("{heading}: {text}") };
    let mut rest = text.as_str();
    while rest.chars().count() > MOST_CHARACTERS {
        let end = rest.char_indices().nth(MOST_CHARACTERS).map_or(rest.len(), |(end, _)| end);
        let cut = rest[..end].rfind(". ").map_or_else(|| rest[..end].rfind(' ').unwrap_or(end), |at| at + 1);
        facts.push(rest[..cut].trim().to_owned());
        rest = rest[cut..].trim_start();
    }
    facts.push(rest.to_owned());
}

fn without_front_matter(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("---\n") else { return text };
    rest.split_once("\n---\n").map_or(text, |(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_and_paragraphs_become_facts_under_their_headings() {
        let text = "---\ntitle: x\n---\n# MEMORY.md\n\nThe office is in Berlin\nand in Oslo.\n\n## Preferences\n\n\
                    - **Tea**, no sugar\n  in the morning\n- _(add more)_\n- Timezone:\n\n1. Trains before planes\n\n\
                    <!-- a\nhint -->\n```\nls -la\n```\n";
        assert_eq!(
            facts(text),
            [
                "The office is in Berlin and in Oslo.",
                "Preferences: Tea, no sugar in the morning",
                "Preferences: Trains before planes"
            ]
        );
        assert!(facts("").is_empty());
    }

    #[test]
    fn long_paragraphs_are_cut_at_sentences_and_nothing_is_lost() {
        let text = "One sentence with some words. ".repeat(60);
        let cut = facts(&text);
        assert!(cut.len() > 3 && cut.iter().all(|fact| fact.chars().count() <= MOST_CHARACTERS && fact.ends_with('.')));
        assert_eq!(cut.join(" "), text.trim());
        assert_eq!(facts(&"ä".repeat(1200)).concat().chars().count(), 1200);
    }
}
