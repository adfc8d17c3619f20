//! A Markdown passage as HTML that may stand in a page, whoever wrote the document.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// HTML in it becomes text; links and images are their words, so that nothing leads or loads anywhere; headings stand
/// below those of the page.
pub(super) fn render(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).filter_map(tame);
    let mut out = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut out, events);
    out
}

fn tame(event: Event<'_>) -> Option<Event<'_>> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Link { .. } | Tag::Image { .. }) | Event::End(TagEnd::Link | TagEnd::Image) => None,
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::CodeBlock(_)) => Some(Event::Start(Tag::CodeBlock(CodeBlockKind::Indented))),
        Event::Start(Tag::Heading { .. }) => {
            let (level, id, classes, attrs) = (HeadingLevel::H3, None, Vec::new(), Vec::new());
            Some(Event::Start(Tag::Heading { level, id, classes, attrs }))
        }
        Event::End(TagEnd::Heading(_)) => Some(Event::End(TagEnd::Heading(HeadingLevel::H3))),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_shown_and_nothing_of_it_is_done() {
        assert_eq!(render("# A **b**\n\n- c"), "<h3>A <strong>b</strong></h3>\n<ul>\n<li>c</li>\n</ul>\n");
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[x](javascript:alert(1))",
            "![x](https://evil.example/?d=1)",
            "```\" onload=x\na\n```",
            "<div>\n\n<svg/onload=alert(1)>",
        ] {
            let html = render(hostile);
            let tags: Vec<&str> =
                html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default()).collect();
            assert!(
                tags.iter().all(|tag| ["p", "/p", "pre", "code", "/code", "/pre"].contains(tag)),
                "{hostile}: {html}"
            );
        }
    }
}
