//! One value in a JSON text is read, replaced, added or taken out; every other byte of the text stays as it is.
//!
//! A feature file belongs to its users: parsing it and writing it again would reorder its keys and lose its formatting.
//! So only the place of the value is found, and the text is cut there. Pointers are those of RFC 6901.

use std::ops::Range;

use serde::de::IgnoredAny;

/// Why there is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    /// The text is not JSON.
    #[error("it holds no JSON document: {0}")]
    NotJson(String),
    /// What the pointer leads through is not there.
    #[error("it has no object at {} that could hold the value: correct the pointer", if .0.is_empty() { "its top" } else { .0 })]
    NoParent(String),
}

/// The value at `pointer` as it is written in `text`; `None` if there is none but could be: its parent is an object.
///
/// # Errors
/// When the text is not JSON, or the parent of the place is no object and has no such element.
pub(super) fn value_at<'t>(text: &'t str, pointer: &str) -> Result<Option<&'t str>, PlaceError> {
    Ok(match place_of(text, pointer)? {
        Place::Value(range) => Some(&text[range]),
        Place::Member { members, at, .. } => at.map(|at| &text[members[at].value.clone()]),
    })
}

/// `text` with the JSON text `value` at `pointer`: in place of the one there, or as the last member of its parent.
///
/// # Errors
/// See [`value_at`].
pub(super) fn put(text: &str, pointer: &str, value: &str) -> Result<String, PlaceError> {
    Ok(match place_of(text, pointer)? {
        Place::Value(range) => replaced(text, range, value),
        Place::Member { members, at: Some(at), .. } => replaced(text, members[at].value.clone(), value),
        Place::Member { members, at: None, key, open } => {
            let name = serde_json::Value::String(key).to_string();
            match members.last() {
                None => replaced(text, open..open, &format!("{name}: {value}")),
                Some(last) => {
                    // Written as the member before it is.
                    let before = if members.len() > 1 { members[members.len() - 2].value.end } else { open };
                    let blank = &text[before..last.key.start];
                    let blank = &blank[blank.find(',').map_or(0, |comma| comma + 1)..];
                    let colon = &text[last.key.end..last.value.start];
                    let end = last.value.end;
                    replaced(text, end..end, &format!(",{blank}{name}{colon}{value}"))
                }
            }
        }
    })
}

/// `text` without the member at `pointer`; as it is if there is none. What [`put`] added is taken out without a trace.
///
/// # Errors
/// See [`value_at`]; an element of a list cannot be taken out either.
pub(super) fn take_out(text: &str, pointer: &str) -> Result<String, PlaceError> {
    let Place::Member { members, at, .. } = place_of(text, pointer)? else {
        return Err(PlaceError::NoParent(parent_of(pointer).to_owned()));
    };
    let Some(at) = at else { return Ok(text.to_owned()) };
    let cut = if at > 0 {
        members[at - 1].value.end..members[at].value.end
    } else if let Some(next) = members.get(1) {
        members[0].key.start..next.key.start
    } else {
        members[0].key.start..members[0].value.end
    };
    Ok(replaced(text, cut, ""))
}

/// Whether two texts are the same JSON value.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    one == other || matches!((read(one), read(other)), (Ok(one), Ok(other)) if one == other)
}

fn replaced(text: &str, range: Range<usize>, with: &str) -> String {
    [&text[..range.start], with, &text[range.end..]].concat()
}

/// Where a pointer leads to.
enum Place {
    /// An element of a list.
    Value(Range<usize>),
    /// A member of an object.
    Member {
        /// All members of the object.
        members: Vec<Member>,
        /// Which of them it is, if it is there.
        at: Option<usize>,
        /// Its key.
        key: String,
        /// Where the object's first member would begin.
        open: usize,
    },
}

struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

fn parent_of(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn place_of(text: &str, pointer: &str) -> Result<Place, PlaceError> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| PlaceError::NotJson(error.to_string()))?;
    let missing = |seen: usize| PlaceError::NoParent(pointer[..seen].to_owned());
    let mut from = Scan { text, at: 0 }.after_blank();
    let (mut seen, mut tokens) = (0, pointer.split('/').skip(1).peekable());
    while let Some(token) = tokens.next() {
        let is_last = tokens.peek().is_none();
        let key = token.replace("~1", "/").replace("~0", "~");
        let scan = Scan { text, at: from };
        match text.as_bytes()[from] {
            b'{' => {
                let members = scan.members();
                let is_named = |member: &Member| scan.name_of(member).is_some_and(|name| name == key);
                // Of two members of one name the last counts, as for every reader that overwrites.
                let at = members.iter().rposition(is_named);
                if is_last {
                    return Ok(Place::Member { members, at, key, open: from + 1 });
                }
                from = at.map(|at| members[at].value.start).ok_or_else(|| missing(seen + 1 + token.len()))?;
            }
            b'[' => {
                let element = index_of(&key).and_then(|index| scan.elements().into_iter().nth(index));
                let element = element.ok_or_else(|| missing(seen))?;
                if is_last {
                    return Ok(Place::Value(element));
                }
                from = element.start;
            }
            _ => return Err(missing(seen)),
        }
        seen += 1 + token.len();
    }
    Err(missing(0))
}

/// An index as RFC 6901 writes it: digits without a leading zero.
fn index_of(token: &str) -> Option<usize> {
    let is_plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    token.parse().ok().filter(|_| is_plain)
}

/// A walk over a text that is known to be JSON. It keeps no stack, however deep the text is.
#[derive(Clone, Copy)]
struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl Scan<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(b'}')
    }

    fn is_over(&self, at: usize) -> bool {
        at >= self.text.len()
    }

    /// The first place from here on that is not blank.
    fn after_blank(&self) -> usize {
        let mut at = self.at;
        while !self.is_over(at) && matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r') {
            at += 1;
        }
        at
    }

    /// The place after the string that begins here.
    fn after_string(&self) -> usize {
        let mut at = self.at + 1;
        while !self.is_over(at) && self.byte(at) != b'"' {
            at += if self.byte(at) == b'\\' { 2 } else { 1 };
        }
        at + 1
    }

    /// The place after the value that begins here.
    fn after_value(&self) -> usize {
        let (mut at, mut depth) = (self.at, 0usize);
        loop {
            match self.byte(at) {
                b'"' => at = Scan { at, ..*self }.after_string(),
                b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
                b'}' | b']' => (at, depth) = (at + 1, depth.saturating_sub(1)),
                _ if depth > 0 => at += 1,
                _ => {
                    while !self.is_over(at) && !b",]} \t\n\r".contains(&self.byte(at)) {
                        at += 1;
                    }
                }
            }
            if depth == 0 || self.is_over(at) {
                return at;
            }
        }
    }

    /// The members of the object that begins here.
    fn members(&self) -> Vec<Member> {
        let mut members = Vec::new();
        let mut at = Scan { at: self.at + 1, ..*self }.after_blank();
        while !self.is_over(at) && self.byte(at) == b'"' {
            let key = at..Scan { at, ..*self }.after_string();
            let colon = Scan { at: key.end, ..*self }.after_blank();
            let value = Scan { at: colon + 1, ..*self }.after_blank();
            let value = value..Scan { at: value, ..*self }.after_value();
            at = self.after_comma(value.end);
            members.push(Member { key, value });
        }
        members
    }

    /// The elements of the list that begins here.
    fn elements(&self) -> Vec<Range<usize>> {
        let mut elements = Vec::new();
        let mut at = Scan { at: self.at + 1, ..*self }.after_blank();
        while !self.is_over(at) && self.byte(at) != b']' {
            let value = at..Scan { at, ..*self }.after_value();
            at = self.after_comma(value.end);
            elements.push(value);
        }
        elements
    }

    /// Where the next one begins, or the closing bracket.
    fn after_comma(&self, end: usize) -> usize {
        let at = Scan { at: end, ..*self }.after_blank();
        if self.byte(at) == b',' { Scan { at: at + 1, ..*self }.after_blank() } else { at }
    }

    fn name_of(&self, member: &Member) -> Option<String> {
        serde_json::from_str(&self.text[member.key.clone()]).ok()
    }
}

#[cfg(test)]
mod tests;
