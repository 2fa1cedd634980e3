//! Two JSON documents, value by value.

use super::path::{Pattern, Piece, Place};
use super::redact;
use super::tree::Node;
use super::{Difference, Found, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// Most places that are looked at when they differ, ignored ones included.
const EXAMINED_MAX: usize = 10_000;

/// How documents are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonRules {
    /// Arrays that are compared by a field of their elements, whatever their order.
    pub arrays_by_key: Vec<(Pattern, String)>,
    /// What is not compared, with everything below it.
    pub ignore: Vec<Pattern>,
}

impl JsonRules {
    /// Reads rules as they are configured.
    ///
    /// # Errors
    /// A sentence, if a path is not one.
    pub fn new(arrays_by_key: &BTreeMap<String, String>, ignore: &[String]) -> Result<Self, String> {
        let arrays = arrays_by_key.iter().map(|(path, key)| Ok((Pattern::parse(path)?, key.clone())));
        let ignore = ignore.iter().map(|path| Pattern::parse(path));
        Ok(Self {
            arrays_by_key: arrays.collect::<Result<_, String>>()?,
            ignore: ignore.collect::<Result<_, String>>()?,
        })
    }
}

/// Every difference of two documents, up to the limits.
#[must_use]
pub fn compare(rules: &JsonRules, legacy: &Node, banyan: &Node) -> Found {
    let mut walk = Walk { rules, place: Place::default(), found: Found::default(), examined: 0 };
    walk.nodes(legacy, banyan);
    walk.found
}

struct Walk<'a> {
    rules: &'a JsonRules,
    place: Place,
    found: Found,
    examined: usize,
}

impl Walk<'_> {
    fn nodes(&mut self, legacy: &Node, banyan: &Node) {
        if self.found.more {
            return;
        }
        match (legacy, banyan) {
            (Node::Object(legacy), Node::Object(banyan)) => self.objects(legacy, banyan),
            (Node::Array(legacy), Node::Array(banyan)) => self.arrays(legacy, banyan),
            _ if legacy == banyan => {}
            _ if legacy.kind() == banyan.kind() => self.note(Kind::Value, Some(legacy), Some(banyan)),
            _ => self.note(Kind::Type, Some(legacy), Some(banyan)),
        }
    }

    fn objects(&mut self, legacy: &BTreeMap<String, Node>, banyan: &BTreeMap<String, Node>) {
        let names: BTreeSet<&String> = legacy.keys().chain(banyan.keys()).collect();
        for name in names {
            self.pair(Piece::Field(name.clone()), legacy.get(name), banyan.get(name));
        }
    }

    fn arrays(&mut self, legacy: &[Node], banyan: &[Node]) {
        let key = self.rules.arrays_by_key.iter().find(|(pattern, _)| pattern.matches(&self.place));
        // Without the key in every element, positions are all there is.
        let keyed = key.and_then(|(_, key)| Some((key, by_key(legacy, key)?, by_key(banyan, key)?)));
        if let Some((key, legacy, banyan)) = keyed {
            let values: BTreeSet<&(String, usize)> = legacy.keys().chain(banyan.keys()).collect();
            for value in values {
                let piece = Piece::Key(key.clone(), value.0.clone(), value.1);
                self.pair(piece, legacy.get(value).copied(), banyan.get(value).copied());
            }
            return;
        }
        for index in 0..legacy.len().max(banyan.len()) {
            self.pair(Piece::Index(index), legacy.get(index), banyan.get(index));
        }
    }

    fn pair(&mut self, piece: Piece, legacy: Option<&Node>, banyan: Option<&Node>) {
        if self.found.more {
            return;
        }
        self.place.0.push(piece);
        match (legacy, banyan) {
            (Some(legacy), Some(banyan)) => self.nodes(legacy, banyan),
            (Some(_), None) => self.note(Kind::Missing, legacy, None),
            (None, _) => self.note(Kind::Added, None, banyan),
        }
        self.place.0.pop();
    }

    fn note(&mut self, kind: Kind, legacy: Option<&Node>, banyan: Option<&Node>) {
        self.examined += 1;
        if self.examined > EXAMINED_MAX {
            self.found.more = true;
            return;
        }
        if self.rules.ignore.iter().any(|pattern| pattern.covers(&self.place)) {
            return;
        }
        let secret = self.place.0.iter().any(|piece| match piece {
            Piece::Field(name) => redact::is_secret_name(name),
            Piece::Key(..) | Piece::Index(_) => false,
        });
        let show = |node: Option<&Node>| match node {
            None => String::new(),
            Some(_) if secret => redact::HIDDEN.to_owned(),
            Some(node) => redact::node(node, super::EXCERPT_BYTES_MAX),
        };
        self.found.add(Difference {
            kind,
            place: redact::text(&self.place.to_string(), super::EXCERPT_BYTES_MAX),
            general: redact::text(&self.place.general(), super::EXCERPT_BYTES_MAX),
            legacy: show(legacy),
            banyan: show(banyan),
        });
    }
}

/// Elements by the value of a field, and which of several with that value; nothing unless all have it.
fn by_key<'a>(elements: &'a [Node], key: &str) -> Option<BTreeMap<(String, usize), &'a Node>> {
    let mut map = BTreeMap::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for element in elements {
        let Node::Object(fields) = element else { return None };
        let value = match fields.get(key)? {
            Node::Text(text) => text.clone(),
            Node::Number(number) => number.to_string(),
            Node::Bool(value) => value.to_string(),
            _ => return None,
        };
        let nth = seen.entry(value.clone()).or_default();
        map.insert((value, *nth), element);
        *nth += 1;
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;
    use proptest::prelude::*;

    fn rules(arrays: &[(&str, &str)], ignore: &[&str]) -> JsonRules {
        let arrays = arrays.iter().map(|(path, key)| ((*path).to_owned(), (*key).to_owned())).collect();
        let ignore: Vec<String> = ignore.iter().map(|path| (*path).to_owned()).collect();
        JsonRules::new(&arrays, &ignore).expect("rules")
    }

    #[track_caller]
    fn check(rules: &JsonRules, legacy: &str, banyan: &str, expected: &[(Kind, &str)]) {
        let read = |text: &str| parse(text.as_bytes()).expect("JSON");
        let found = compare(rules, &read(legacy), &read(banyan));
        let found: Vec<(Kind, &str)> =
            found.differences.iter().map(|difference| (difference.kind, difference.place.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn documents_are_compared() {
        let plain = JsonRules::default();
        check(&plain, r#"{"a":1,"b":[1,2]}"#, r#"{"b":[1.0,2e0],"a":1}"#, &[]);
        check(&plain, r#"{"a":1}"#, r#"{"a":2}"#, &[(Kind::Value, "$.a")]);
        check(&plain, r#"{"a":1}"#, r#"{"a":"1"}"#, &[(Kind::Type, "$.a")]);
        check(&plain, r#"{"a":null}"#, r#"{}"#, &[(Kind::Missing, "$.a")]);
        check(&plain, r#"[1]"#, r#"[1,2]"#, &[(Kind::Added, "$[1]")]);
        check(&plain, r#"[]"#, r#"{}"#, &[(Kind::Type, "$")]);
    }

    #[test]
    fn arrays_are_compared_by_key() {
        let keyed = rules(&[("$.items", "sku")], &[]);
        let legacy = r#"{"items":[{"sku":"A","n":1},{"sku":"B","n":2}]}"#;
        check(&keyed, legacy, r#"{"items":[{"sku":"B","n":2},{"sku":"A","n":1}]}"#, &[]);
        check(
            &keyed,
            legacy,
            r#"{"items":[{"sku":"B","n":3}]}"#,
            &[(Kind::Missing, "$.items[sku=A]"), (Kind::Value, "$.items[sku=B].n")],
        );
        // One of two with the same key is gone: that is a difference, not a match with the other.
        let twice = r#"{"items":[{"sku":"A"},{"sku":"A"}]}"#;
        check(&keyed, twice, r#"{"items":[{"sku":"A"}]}"#, &[(Kind::Missing, "$.items[sku=A#1]")]);
        // An element without the key: by position.
        check(
            &keyed,
            r#"{"items":[{"sku":"A"},{}]}"#,
            r#"{"items":[{"sku":"A"},{"x":1}]}"#,
            &[(Kind::Added, "$.items[1].x")],
        );
    }

    #[test]
    fn ignored_places_hide_themselves_and_what_is_below() {
        let ignoring = rules(&[], &["$..at", "$.meta", "$.items[*].rank"]);
        let legacy = r#"{"at":1,"meta":{"x":1},"items":[{"rank":1,"n":1,"at":5}]}"#;
        let banyan = r#"{"meta":{"y":{"z":1}},"items":[{"rank":9,"n":2,"at":6}]}"#;
        check(&ignoring, legacy, banyan, &[(Kind::Value, "$.items[0].n")]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let read = |text: &str| parse(text.as_bytes()).expect("JSON");
        let found = compare(
            &JsonRules::default(),
            &read(r#"{"access_token":"tk-1","user":{"password":"pw-1"},"pay":{"card":{"number":"4111"}}}"#),
            &read(r#"{"access_token":"tk-2","pay":{"card":{"number":"4222"}}}"#),
        );
        let shown = format!("{found:?}");
        assert_eq!(found.differences.len(), 3, "{shown}");
        for secret in ["tk-1", "tk-2", "pw-1", "4111", "4222"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn a_secret_that_is_a_key_is_not_shown() {
        let read = |text: &str| parse(text.as_bytes()).expect("JSON");
        let by_token = rules(&[("$.sessions", "token")], &[]);
        let found = compare(
            &by_token,
            &read(r#"{"sessions":[{"token":"tk-1","n":1}]}"#),
            &read(r#"{"sessions":[{"token":"tk-1","n":2}]}"#),
        );
        assert_eq!(found.differences.len(), 1);
        assert!(!format!("{found:?}").contains("tk-1"), "{found:?}");
    }

    #[test]
    fn many_differences_are_bounded() {
        let big = |n: u32| format!("[{}]", vec![n.to_string(); 50_000].join(","));
        let read = |text: &str| parse(text.as_bytes()).expect("JSON");
        let found = compare(&JsonRules::default(), &read(&big(1)), &read(&big(2)));
        assert!(found.more && found.differences.len() == super::super::DIFFERENCES_MAX);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-5_i32..5).prop_map(Into::into),
            "[ab]{0,2}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                proptest::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Differences are found exactly where the library sees some, and the same seen from either side.
        #[test]
        fn agrees_with_equality(one in json(), other in json()) {
            let read = |value: &serde_json::Value| parse(value.to_string().as_bytes()).expect("JSON");
            let plain = JsonRules::default();
            let there = compare(&plain, &read(&one), &read(&other));
            let back = compare(&plain, &read(&other), &read(&one));
            prop_assert_eq!(there.differences.is_empty(), one == other);
            prop_assert_eq!(there.differences.len(), back.differences.len());
            prop_assert!(compare(&plain, &read(&one), &read(&one)).differences.is_empty());
        }

        /// Ignoring every place that differs leaves nothing, and ignoring one hides no other.
        #[test]
        fn ignoring_hides_exactly_that(one in json(), other in json()) {
            let read = |value: &serde_json::Value| parse(value.to_string().as_bytes()).expect("JSON");
            let found = compare(&JsonRules::default(), &read(&one), &read(&other)).differences;
            let places: Vec<String> = found.iter().map(|difference| difference.place.clone()).collect();
            let all = JsonRules::new(&BTreeMap::new(), &places).expect("rules");
            prop_assert!(compare(&all, &read(&one), &read(&other)).differences.is_empty());
            if let Some(first) = places.first() {
                let some = JsonRules::new(&BTreeMap::new(), std::slice::from_ref(first)).expect("rules");
                let left = compare(&some, &read(&one), &read(&other)).differences;
                prop_assert_eq!(left.len(), found.len() - 1);
            }
        }

        /// The order of a keyed array does not matter.
        #[test]
        fn keyed_order_does_not_matter(mut keys in proptest::collection::vec(0_u8..6, 0..8), turn in 0_usize..8) {
            let text = |keys: &[u8]| {
                let elements: Vec<String> = keys.iter().map(|key| format!(r#"{{"k":{key},"v":{key}}}"#)).collect();
                format!(r#"{{"a":[{}]}}"#, elements.join(","))
            };
            let before = text(&keys);
            if !keys.is_empty() {
                let turn = turn % keys.len();
                keys.rotate_left(turn);
            }
            let read = |text: &str| parse(text.as_bytes()).expect("JSON");
            let found = compare(&rules(&[("$.a", "k")], &[]), &read(&before), &read(&text(&keys)));
            prop_assert!(found.differences.is_empty());
        }
    }
}
