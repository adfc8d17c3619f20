//! JSON as models print it when nobody holds them to it: single quotes, keys without quotes, commas at the end, Python's
//! True and None, line breaks within strings, comments, and closing brackets that are missing at the very end.
//!
//! What is not there is not made up: a string without its end is no string, because nobody knows what was to follow.

use serde_json::{Map, Number, Value};

/// Brackets within brackets.
const DEEPEST: usize = 64;

/// The value that `text` begins with, and how many bytes it takes.
pub(super) fn value(text: &str) -> Option<(Value, usize)> {
    let mut strict = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = strict.next()
        && (value.is_object() || value.is_array())
    {
        return Some((value, strict.byte_offset()));
    }
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    Some((value, reader.at))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, sign: char) -> bool {
        let is = self.peek() == Some(sign);
        self.at += if is { sign.len_utf8() } else { 0 };
        is
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            let comment = if self.rest().starts_with("//") {
                self.rest().find('\n')
            } else if self.rest().starts_with("/*") {
                self.rest().find("*/").map(|end| end + 2)
            } else {
                None
            };
            match comment {
                Some(length) => self.at += length,
                None => return,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.skip();
        match self.peek()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' | '\'' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.take('{');
        let mut fields = Map::new();
        loop {
            self.skip();
            // At the end of the text the bracket is missing; anywhere else something is.
            if self.take('}') || self.rest().is_empty() {
                return Some(Value::Object(fields));
            }
            let key = self.key()?;
            self.skip();
            if !self.take(':') && !self.take('=') {
                return None;
            }
            let value = self.value(depth + 1)?;
            fields.insert(key, value);
            self.skip();
            if !self.take(',') && !matches!(self.peek(), None | Some('}')) {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.take('[');
        let mut values = Vec::new();
        loop {
            self.skip();
            if self.take(']') || self.rest().is_empty() {
                return Some(Value::Array(values));
            }
            values.push(self.value(depth + 1)?);
            self.skip();
            if !self.take(',') && !matches!(self.peek(), None | Some(']')) {
                return None;
            }
        }
    }

    fn key(&mut self) -> Option<String> {
        if matches!(self.peek(), Some('"' | '\'')) {
            return self.string();
        }
        let bare = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-' | '.' | '$');
        let length = self.rest().find(|sign| !bare(sign))?;
        let key = self.rest()[..length].to_owned();
        self.at += length;
        (!key.is_empty()).then_some(key)
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.peek()?;
        self.at += 1;
        let mut read = String::new();
        loop {
            let sign = self.peek()?;
            self.at += sign.len_utf8();
            match sign {
                '\\' => self.escape(&mut read)?,
                // An apostrophe within a text in single quotes: the end is before a sign that can follow an end.
                sign if sign == quote && (quote == '"' || self.may_end()) => return Some(read),
                sign => read.push(sign),
            }
        }
    }

    fn may_end(&self) -> bool {
        self.rest().trim_start().chars().next().is_none_or(|sign| matches!(sign, ',' | ':' | '}' | ']' | ')' | '='))
    }

    fn escape(&mut self, read: &mut String) -> Option<()> {
        let sign = self.peek()?;
        self.at += sign.len_utf8();
        match sign {
            'n' => read.push('\n'),
            't' => read.push('\t'),
            'r' => read.push('\r'),
            'b' => read.push('\u{8}'),
            'f' => read.push('\u{c}'),
            'u' => {
                let unit = self.hexadecimal()?;
                let unit = if (0xD800..0xDC00).contains(&unit) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hexadecimal()?;
                    0x1_0000 + ((unit - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    unit
                };
                read.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // `\'`, and escapes that there are none of.
            other => read.push(other),
        }
        Some(())
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let unit = u32::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(unit)
    }

    /// A number, `true`, `True`, `None`, or a word whose quotes are missing.
    fn word(&mut self) -> Option<Value> {
        let length = self.rest().find([',', '}', ']', ')', '\n']).unwrap_or(self.rest().len());
        let word = self.rest()[..length].trim_end().to_owned();
        self.at += length;
        Some(match word.as_str() {
            "" => return None,
            "true" | "True" => Value::Bool(true),
            "false" | "False" => Value::Bool(false),
            "null" | "None" | "undefined" => Value::Null,
            word => match word.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) if word.chars().all(|sign| !matches!(sign, '"' | '{' | '[' | '(' | '<' | ':')) => {
                    Value::String(word.to_owned())
                }
                Err(_) => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::value;

    #[test]
    fn what_models_print_for_json_is_understood() {
        let expected =
            json!({ "name": "search", "arguments": { "query": "it's", "limit": 3, "deep": true, "x": null } });
        for printed in [
            r#"{"name": "search", "arguments": {"query": "it's", "limit": 3, "deep": true, "x": null}}"#,
            r"{'name': 'search', 'arguments': {'query': 'it\'s', 'limit': 3, 'deep': True, 'x': None}}",
            r"{'name': 'search', 'arguments': {'query': 'it's', 'limit': 3, 'deep': True, 'x': None}}",
            "{name: \"search\", arguments: {query: \"it's\", limit: 3, deep: true, x: null,},}",
            "{\"name\": \"search\", // which\n \"arguments\": {\"query\": \"it's\", /* few */ \"limit\": 3, \"deep\": true, \"x\": null",
        ] {
            assert_eq!(value(printed).map(|(value, _)| value), Some(expected.clone()), "{printed}");
        }
        assert_eq!(value("{\"a\": \"two\nlines\"}").map(|(value, _)| value), Some(json!({ "a": "two\nlines" })));
        assert_eq!(value("{\"a\": \"\\u00fc\\ud83d\\ude00\",}").map(|(value, _)| value), Some(json!({ "a": "ü😀" })));
    }

    #[test]
    fn what_is_cut_in_the_middle_of_a_string_or_is_no_json_is_not_made_up() {
        for printed in
            ["{\"name\": \"search\", \"arguments\": {\"query\": \"how lo", "{oops", "{a b}", "{\"a\" 1}", "{1: }"]
        {
            assert_eq!(value(printed), None, "{printed}");
        }
        assert_eq!(value(&"[".repeat(100)), None, "too deep");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_stumble(text in "[\\[{}\\]\"':,=a-z0-9 \\\\un\u{e4}\n]{0,60}") {
            if let Some((_, length)) = value(&text) {
                prop_assert!(text.is_char_boundary(length));
            }
        }
    }
}
