use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FILE: &str = "{\n  \"flags\": {\n    \"search\" : {\"state\": \"ENABLED\", \"on\": true},\n    \"a/b~c\": [1, {\"x\": null}, \"]\\\"}\"]\n  },\n  \"empty\": { }\n}\n";

#[test]
fn one_value_is_replaced_and_every_other_byte_stays() {
    let file = put(FILE, "/flags/search/on", "false").unwrap();
    assert_eq!(file, FILE.replace("true", "false"));
    assert_eq!(put(&file, "/flags/search/on", "true").unwrap(), FILE);
    assert_eq!(value_at(FILE, "/flags/a~1b~0c/1/x").unwrap(), Some("null"));
    assert_eq!(value_at(FILE, "/flags/a~1b~0c/2").unwrap(), Some("\"]\\\"}\""));
    assert_eq!(value_at(FILE, "/flags/search").unwrap(), Some("{\"state\": \"ENABLED\", \"on\": true}"));
    assert_eq!(value_at(FILE, "/flags/none").unwrap(), None);
}

#[test]
fn a_member_is_added_in_the_style_of_the_one_before_and_taken_out_without_a_trace() {
    let file = put(FILE, "/flags/new", "{\"on\": false}").unwrap();
    assert!(file.contains("\"]\\\"}\"],\n    \"new\": {\"on\": false}\n  }"), "{file}");
    assert_eq!(take_out(&file, "/flags/new").unwrap(), FILE);
    let file = put(FILE, "/empty/new", "1").unwrap();
    assert!(file.contains("{\"new\": 1 }"), "{file}");
    assert_eq!(take_out(&file, "/empty/new").unwrap(), FILE);
    assert_eq!(take_out(FILE, "/flags/none").unwrap(), FILE);
}

#[test]
fn what_several_add_goes_in_any_order() {
    for file in [FILE, "{}", "{ \"x\":1 }", "{\n}"] {
        let both = put(&put(file, "/one", "1").unwrap(), "/two", "[2]").unwrap();
        assert_eq!(take_out(&take_out(&both, "/one").unwrap(), "/two").unwrap(), file);
        assert_eq!(take_out(&take_out(&both, "/two").unwrap(), "/one").unwrap(), file);
    }
}

#[test]
fn of_two_members_of_one_name_the_last_counts() {
    let file = r#"{"on": 1, "on": 2}"#;
    assert_eq!(value_at(file, "/on").unwrap(), Some("2"));
    assert_eq!(put(file, "/on", "3").unwrap(), r#"{"on": 1, "on": 3}"#);
}

#[test]
fn a_place_without_a_parent_is_no_place() {
    let missing = |file: &str, pointer: &str| value_at(file, pointer).unwrap_err();
    assert_eq!(missing(FILE, "/nothing/here"), PlaceError::NoParent("/nothing".to_owned()));
    assert_eq!(missing(FILE, "/flags/search/on/deep"), PlaceError::NoParent("/flags/search/on".to_owned()));
    assert_eq!(missing(FILE, "/flags/a~1b~0c/3"), PlaceError::NoParent("/flags/a~1b~0c".to_owned()));
    assert_eq!(missing(FILE, "/flags/a~1b~0c/01"), PlaceError::NoParent("/flags/a~1b~0c".to_owned()));
    assert_eq!(missing("[]", "/-"), PlaceError::NoParent(String::new()));
    assert!(matches!(missing("", "/a"), PlaceError::NotJson(_)));
    assert!(matches!(missing("{\"a\": 1} x", "/a"), PlaceError::NotJson(_)));
    assert!(matches!(take_out("[1]", "/0"), Err(PlaceError::NoParent(_))));
}

#[test]
fn a_text_of_any_depth_is_walked() {
    let depth = 20_000;
    let file = format!("{{\"deep\": {}{}, \"on\": true}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(put(&file, "/on", "false").unwrap(), file.replace("true", "false"));
}

/// A JSON value with the keys and texts that scanners stumble over.
fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("on".to_owned()),
        Just("a/b~c".to_owned()),
        Just("}]\",\\".to_owned()),
        Just(String::new()),
        Just("0".to_owned()),
        "[a-zé\"\\\\/~{}\\[\\]:,\n ]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1_000i32..1_000).prop_map(|n| Value::from(f64::from(n) / 8.0)),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A value written with blanks of every kind between its parts.
fn written(value: &Value, blank: &mut dyn FnMut() -> &'static str) -> String {
    let (open, parts, close): (_, Vec<String>, _) = match value {
        Value::Array(all) => {
            let part = |it: &Value| [blank(), written(it, blank).as_str(), blank()].concat();
            ('[', all.iter().map(part).collect(), ']')
        }
        Value::Object(all) => {
            let part = |(key, it): (&String, &Value)| {
                let key = Value::from(key.clone()).to_string();
                [blank(), &key, blank(), ":", blank(), &written(it, blank), blank()].concat()
            };
            ('{', all.iter().map(part).collect(), '}')
        }
        leaf => return leaf.to_string(),
    };
    let inner = if parts.is_empty() { blank().to_owned() } else { parts.join(",") };
    format!("{open}{inner}{close}")
}

/// Every pointer into a value, and for each object one to a member that it lacks.
fn pointers(value: &Value, at: &str, all: &mut Vec<(String, bool)>) {
    let token = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            all.push((format!("{at}/~0none"), false));
            for (key, inner) in map {
                let at = format!("{at}/{}", token(key));
                all.push((at.clone(), true));
                pointers(inner, &at, all);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let at = format!("{at}/{index}");
                all.push((at.clone(), true));
                pointers(inner, &at, all);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn splicing_agrees_with_a_parser_and_leaves_no_trace(
        doc in value(),
        new in value(),
        style in prop::collection::vec(0..5usize, 1..8),
    ) {
        let mut turn = 0usize;
        let mut blank = || -> &'static str {
            turn += 1;
            ["", " ", "\n  ", "\t", "\r\n"][style[turn % style.len()]]
        };
        let text = format!("{}{}{}", blank(), written(&doc, &mut blank), blank());
        let new_text = written(&new, &mut blank);
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        prop_assert_eq!(&read(&text), &doc);
        let mut all = Vec::new();
        pointers(&doc, "", &mut all);
        for (pointer, is_there) in all {
            let found = value_at(&text, &pointer).unwrap();
            prop_assert_eq!(found.map(read), doc.pointer(&pointer).cloned(), "{}", pointer);
            prop_assert_eq!(found.is_some(), is_there);
            // Set: the parser sees the new value there, and nothing else changed.
            let set = put(&text, &pointer, &new_text).unwrap();
            let mut wanted = doc.clone();
            if is_there {
                *wanted.pointer_mut(&pointer).unwrap() = new.clone();
            } else {
                let parent = pointer.rsplit_once('/').unwrap().0;
                wanted.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert("~none".to_owned(), new.clone());
            }
            prop_assert_eq!(read(&set), wanted);
            // Set back: byte for byte as it was.
            let back = match found {
                Some(found) => put(&set, &pointer, found).unwrap(),
                None => take_out(&set, &pointer).unwrap(),
            };
            prop_assert_eq!(&back, &text);
            // Taking out a member that was there agrees with the parser too.
            let (parent, _) = pointer.rsplit_once('/').unwrap();
            if is_there && doc.pointer(parent).is_some_and(Value::is_object) {
                let mut wanted = doc.clone();
                let key = pointer.rsplit_once('/').unwrap().1.replace("~1", "/").replace("~0", "~");
                wanted.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&key);
                prop_assert_eq!(read(&take_out(&text, &pointer).unwrap()), wanted);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\",:a1 \\\\]{0,24}", pointer in "(/[a01~]{0,2}){1,3}") {
        let valid = serde_json::from_str::<Value>(&text).is_ok();
        let found = value_at(&text, &pointer);
        prop_assert!(valid || found.is_err());
        if let Ok(spliced) = put(&text, &pointer, "true") {
            let read: Value = serde_json::from_str(&spliced).unwrap();
            prop_assert_eq!(read.pointer(&pointer), Some(&json!(true)), "{}", spliced);
        }
    }
}
