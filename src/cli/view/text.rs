//! Plain text: how wide it is, how it is made harmless, where it breaks.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns that a text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text without anything that could move the cursor, change colours or reorder what is shown: objects of the
/// cluster hold text of other people.
#[must_use]
pub fn clean(text: &str) -> String {
    let harmless = |c: char| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars()
        .filter(|c| harmless(*c))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The text in at most `columns` columns; what is cut off is shown by `…`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in text.chars() {
        let step = c.width().unwrap_or(0);
        if used + step + 1 > columns {
            break;
        }
        kept.push(c);
        used += step;
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// The text in lines of at most `columns` columns, broken at spaces; longer words are cut apart. At least one line.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let size = width(word);
        if used > 0 && used + 1 + size <= columns {
            push(&mut lines, &mut used, " ");
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            let step = c.width().unwrap_or(0);
            if used > 0 && used + step > columns {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, &mut used, c.encode_utf8(&mut [0; 4]));
        }
    }
    lines
}

fn push(lines: &mut [String], used: &mut usize, text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
        *used += width(text);
    }
}

/// Like [`wrap`], in at most `lines_max` lines; the last one ends in `…` when something is left out.
#[must_use]
pub fn wrap_at_most(text: &str, columns: usize, lines_max: usize) -> Vec<String> {
    let mut lines = wrap(text, columns);
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            *last = format!("{}…", cut_hard(last, columns.saturating_sub(1)));
        }
    }
    lines
}

fn cut_hard(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// The columns of one line that may hold colour sequences (`ESC [ … m`).
#[must_use]
pub fn painted_width(line: &str) -> usize {
    let (mut plain, mut in_sequence) = (String::with_capacity(line.len()), false);
    for c in line.chars() {
        match (in_sequence, c) {
            (false, '\u{1b}') => in_sequence = true,
            (false, _) => plain.push(c),
            (true, 'm') => in_sequence = false,
            (true, _) => {}
        }
    }
    width(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_foreign_text_harmless() {
        assert_eq!(clean("a\u{1b}[31mred\u{7}\nnext\u{202e}"), "a [31mred  next");
    }

    #[test]
    fn cuts_by_columns_not_by_bytes() {
        assert_eq!(cut("déjà vu", 7), "déjà vu");
        assert_eq!(cut("déjà vu", 5), "déjà…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn wraps_at_spaces_and_cuts_long_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap_at_most("one two three four", 7, 2), ["one two", "three…"]);
        for line in wrap_at_most("aaaa bbbb cccc dddd", 4, 3) {
            assert!(width(&line) <= 4, "{line}");
        }
    }

    #[test]
    fn measures_painted_text() {
        assert_eq!(painted_width("\u{1b}[1m\u{1b}[32m✓ ok\u{1b}[0m"), 4);
    }
}
