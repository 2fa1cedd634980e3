//! What one side of a route is told besides what the client said: a key of its own, fields that are left out or set.
//!
//! Keys come from files that the configuration file names. Neither the admin API nor the journal ever has one: a route only says
//! which.

use crate::config::{IN_PROCESS, SideFieldsSpec};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, request};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 4 << 10;

/// Keys by their name, each as the value of `Authorization`.
pub(crate) type Keys = BTreeMap<String, HeaderValue>;

/// Reads the keys' files.
pub(crate) fn read_keys(files: &BTreeMap<String, PathBuf>) -> Result<Keys, String> {
    let mut keys = Keys::new();
    for (name, file) in files {
        let failed = |why: &dyn std::fmt::Display| format!("keys.{name}: reading {}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
        let key = text.trim();
        let is_key =
            (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&format!("Bearer {key}")).ok().filter(|_| is_key);
        let mut value = value.ok_or_else(|| failed(&"it must hold one key and nothing else"))?;
        // Or it would be shown where heads are.
        value.set_sensitive(true);
        keys.insert(name.clone(), value);
    }
    Ok(keys)
}

/// The same, ready to be applied.
#[derive(Debug, Default)]
pub(crate) struct SideFields {
    key: Option<HeaderValue>,
    key_methods: Vec<Method>,
    strip: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
}

impl SideFields {
    /// Of a spec that was checked; nothing if it says nothing.
    pub(crate) fn new(spec: Option<&SideFieldsSpec>, keys: &Keys) -> Result<Option<Box<Self>>, String> {
        let Some(spec) = spec else { return Ok(None) };
        let key = match &spec.key {
            None => None,
            Some(name) => Some(keys.get(name).cloned().ok_or_else(|| no_key(name))?),
        };
        let method = |text: &String| Method::from_bytes(text.as_bytes()).ok();
        let set = |(name, value): (&String, &String)| {
            Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?))
        };
        Ok(Some(Box::new(Self {
            key,
            key_methods: match &spec.key_methods {
                None => vec![Method::GET, Method::HEAD],
                Some(methods) => methods.iter().filter_map(method).collect(),
            },
            strip: spec.strip.iter().filter_map(|name| name.parse().ok()).collect(),
            set: spec.set.iter().filter_map(set).collect(),
        })))
    }

    /// Changes a head on its way to the side.
    pub(crate) fn apply(&self, head: &mut request::Parts) {
        self.apply_to(&head.method, &mut head.headers);
    }

    fn apply_to(&self, method: &Method, headers: &mut HeaderMap) {
        for name in &self.strip {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        if let Some(key) = self.key.as_ref().filter(|_| self.key_methods.contains(method)) {
            // In place of the caller's: with two, each server would believe another one.
            headers.insert(header::AUTHORIZATION, key.clone());
        }
    }
}

/// There is no key of this name.
pub(crate) fn no_key(name: &str) -> String {
    if name == IN_PROCESS {
        return format!(
            "key: {name:?} is there beside a server only (`banyan up --gateway FILE`): name a key of [keys]"
        );
    }
    format!("key: there is no key {name:?}: add {name} = \"its-file\" to [keys] of the configuration file")
}

/// Checks what a route says of one side.
pub(crate) fn check(spec: &SideFieldsSpec) -> Result<(), String> {
    let framing = |name: &HeaderName| {
        let names = [
            header::HOST,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::UPGRADE,
        ];
        names.contains(name) || [header::TE, header::EXPECT, header::TRAILER].contains(name)
    };
    for name in spec.strip.iter().chain(spec.set.keys()) {
        let parsed = name.parse::<HeaderName>().map_err(|_| format!("{name:?} is no name of a header"))?;
        if framing(&parsed) {
            return Err(format!(
                "{name:?} frames the message or says whom it is for: it cannot be left out or set"
            ));
        }
    }
    for (name, value) in &spec.set {
        if ["authorization", "cookie", "proxy-authorization"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!(
                "set: {name:?} would hold a secret that everybody sees who sees routes: use `key`"
            ));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(format!("set: the value of {name:?} has characters that no header can have"));
        }
    }
    for method in spec.key_methods.iter().flatten() {
        if Method::from_bytes(method.as_bytes()).is_err() || method.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(format!(
                "key_methods: {method:?} is no method: write it in capitals, such as \"GET\""
            ));
        }
    }
    if spec.key.is_none() && spec.key_methods.is_some() {
        return Err("key_methods: there is no `key` that they are for".to_owned());
    }
    Ok(())
}
