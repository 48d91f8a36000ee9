//! YAML with the place of every field, read as `kubectl` reads it.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// A line and a column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
}

/// A document with the places of its fields, such as `spec.gates[0].window`; the empty field is the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it says it.
    pub places: BTreeMap<String, Place>,
}

/// Why a file is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub says: String,
}

/// Nodes of all documents of a file, aliases counted each time: no file becomes larger than this in memory.
const NODES_MAX: usize = 500_000;

/// The documents of a text, empty ones left out; and what is wrong with it. What comes before a mistake is kept.
pub fn read(text: &str) -> (Vec<Document>, Vec<Broken>) {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        places: BTreeMap::new(),
        broken: Vec::new(),
        nodes: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next() {
            Ok(Some((Event::DocumentStart(..), _))) => {}
            Ok(Some((Event::StreamStart | Event::DocumentEnd, _))) => reader.anchors.clear(),
            Ok(None | Some((Event::StreamEnd, _))) => break,
            Ok(Some((event, span))) => match reader.node(event, span, "") {
                Ok(value) => {
                    let places = std::mem::take(&mut reader.places);
                    if !value.is_null() {
                        documents.push(Document { value, places });
                    }
                }
                Err(broken) => {
                    reader.broken.push(broken);
                    break;
                }
            },
            Err(broken) => {
                reader.broken.push(broken);
                break;
            }
        }
    }
    (documents, reader.broken)
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

struct Reader<'t> {
    events: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, Value>,
    places: BTreeMap<String, Place>,
    broken: Vec<Broken>,
    nodes: usize,
}

impl<'t> Reader<'t> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Broken> {
        loop {
            match self.events.next() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..) | Event::Anchor(..), _))) => {}
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(error)) => return Err(Broken { place: place(error.marker()), says: error.info() }),
            }
        }
    }

    fn must(&mut self, near: &Span) -> Result<(Event<'t>, Span), Broken> {
        let end = || Broken { place: place(&near.start), says: "the document ends within this".to_owned() };
        self.next()?.ok_or_else(end)
    }

    fn node(&mut self, event: Event<'t>, span: Span, field: &str) -> Result<Value, Broken> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Broken {
                place: place(&span.start),
                says: format!("more than {NODES_MAX} values in one file"),
            });
        }
        self.places.entry(field.to_owned()).or_insert_with(|| place(&span.start));
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|it| it.core_suffix() == Some("str"));
                let value = if style == ScalarStyle::Plain && !is_text {
                    plain(&text)
                } else {
                    Value::String(text.into_owned())
                };
                (value, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(&span, field)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(&span, field)?, anchor),
            Event::Alias(id) => {
                let value = self.anchors.get(&id).cloned().unwrap_or_default();
                self.nodes += size(&value);
                (value, 0)
            }
            _ => {
                return Err(Broken { place: place(&span.start), says: "a value is missing here".to_owned() });
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, start: &Span, field: &str) -> Result<Value, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.must(start)?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.node(event, span, &format!("{field}[{}]", items.len()))?);
        }
    }

    fn mapping(&mut self, start: &Span, field: &str) -> Result<Value, Broken> {
        let (mut fields, mut merged) = (Map::new(), Vec::new());
        loop {
            let (event, span) = self.must(start)?;
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Broken {
                        place: place(&span.start),
                        says: "a key has to be a text".to_owned(),
                    });
                }
            };
            let path = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
            let at = place(&span.start);
            if key == "<<" {
                let (event, span) = self.must(start)?;
                merged.push(self.node(event, span, &path)?);
                continue;
            }
            if fields.contains_key(&key) {
                self.broken.push(Broken {
                    place: at,
                    says: format!("the key {key} is here twice: one of the two would be lost"),
                });
            }
            self.places.insert(path.clone(), at);
            let (event, span) = self.must(start)?;
            let value = self.node(event, span, &path)?;
            fields.insert(key, value);
        }
        for value in merged.into_iter().filter_map(|it| it.as_object().cloned()) {
            for (key, value) in value {
                fields.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(fields))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// A scalar without quotes, by the rules of YAML 1.1 that `kubectl` has kept: yes, no, on and off are booleans.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        if let Ok(number) = text.trim_start_matches('+').parse::<i64>() {
            return Value::Number(number.into());
        }
        let hex = digits.strip_prefix("0x").and_then(|it| i64::from_str_radix(it, 16).ok());
        let octal = digits.strip_prefix("0o").and_then(|it| i64::from_str_radix(it, 8).ok());
        if let Some(number) = hex.or(octal) {
            return Value::Number(number.into());
        }
        let is_number =
            digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        if let Some(number) = text.parse::<f64>().ok().filter(|_| is_number).and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_has_its_line_and_column() {
        let text = "# a comment\nspec:\n  gates:\n  - name: a # why\n    window: 2m\n  - {name: b, on: [1, 0.5]}\n---\n---\nx: 1\n";
        let (documents, broken) = read(text);
        assert_eq!(broken, []);
        assert_eq!(documents.len(), 2, "an empty document is none");
        let at = |field: &str| documents[0].places.get(field).map(|it| (it.line, it.column));
        assert_eq!(at("spec.gates[0].window"), Some((5, 5)));
        assert_eq!(at("spec.gates[1].name"), Some((6, 6)));
        assert_eq!(at("spec.gates[1]"), Some((6, 5)));
        assert_eq!(documents[0].value["spec"]["gates"][1], json!({"name": "b", "on": [1, 0.5]}));
        assert_eq!(documents[1].places["x"].line, 9);
    }

    #[test]
    fn scalars_are_what_kubectl_makes_of_them() {
        for (text, value) in [
            ("off", json!(false)),
            ("Yes", json!(true)),
            ("\"off\"", json!("off")),
            ("!!str 5", json!("5")),
            ("10", json!(10)),
            ("-1.5e3", json!(-1500.0)),
            ("10m", json!("10m")),
            ("1.2.3", json!("1.2.3")),
            ("~", json!(null)),
            ("0x1f", json!(31)),
        ] {
            assert_eq!(read(&format!("x: {text}")).0[0].value["x"], value, "{text}");
        }
    }

    #[test]
    fn aliases_and_merges_are_followed_and_bounded() {
        let (documents, broken) = read("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\n");
        assert_eq!((documents[0].value["b"].clone(), broken), (json!({"x": 1, "y": 2}), vec![]));
        assert_eq!(documents[0].value["c"], json!({"x": 1, "y": 3}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        let (_, broken) = read(&bomb);
        assert!(broken[0].says.contains("more than"), "{broken:?}");
    }

    #[test]
    fn mistakes_have_a_place() {
        let (documents, broken) = read("a: 1\na: 2\n");
        assert_eq!((documents.len(), broken[0].place.line), (1, 2));
        let (_, broken) = read("a: [1, 2\nb: {{ .Values.x }}\n");
        assert!(!broken.is_empty());
    }
}
