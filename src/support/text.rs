//! Passages as people read them outside their document.

/// The passage without the Markdown headings that it begins with: wherever it is shown alone, its locator says them.
/// A passage that is nothing but headings stays as it is.
pub fn without_headings(passage: &str) -> &str {
    let mut rest = passage;
    loop {
        let text = rest.trim_start();
        let (line, after) = text.split_once('\n').unwrap_or((text, ""));
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if !(1..=6).contains(&level) || !line[level..].starts_with(' ') {
            return if text.is_empty() { passage } else { text };
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_before_the_text_are_left_out_and_nothing_else() {
        assert_eq!(
            without_headings("## Leave\n\n### Annual leave\n\nYou have 28 days.\n# End"),
            "You have 28 days.\n# End"
        );
        assert_eq!(without_headings("#hashtag first\nthen"), "#hashtag first\nthen");
        assert_eq!(without_headings("# Only a heading"), "# Only a heading");
        assert_eq!(without_headings(""), "");
    }
}
