//! Named texts, in order of name.

use crate::{digest, limits};
use minicbor::{Decode, Encode};

/// A saga's input, or a step's output: a few named texts. Small and flat, because there are several for every order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Fields(#[n(0)] Vec<(Box<str>, Box<str>)>);

/// Why texts cannot be the fields of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidFields {
    /// There are more than [`limits::SAGA_FIELDS_MAX`].
    TooMany,
    /// A name is empty or longer than [`limits::SAGA_FIELD_NAME_BYTES_MAX`] bytes.
    Name,
    /// A value is longer than [`limits::SAGA_FIELD_BYTES_MAX`] bytes.
    Value,
}

impl Fields {
    /// No field.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the field `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[found].1)
    }

    /// Sets the field `name`.
    pub fn insert(&mut self, name: &str, value: impl Into<Box<str>>) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(found) => self.0[found].1 = value.into(),
            Err(place) => self.0.insert(place, (name.into(), value.into())),
        }
    }

    /// The fields in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// A digest of all of them, by which others are told from the same.
    pub(crate) fn digest(&self) -> u64 {
        let texts = self.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let row = digest::row_texts(&[self.0.len() as u64], texts);
        row as u64 ^ (row >> 64) as u64
    }

    /// Whether there is no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks number and lengths: what comes from outside must pass before it is stored.
    ///
    /// # Errors
    /// [`InvalidFields`] naming the limit that is broken.
    pub fn check(&self) -> Result<(), InvalidFields> {
        if self.0.len() > limits::SAGA_FIELDS_MAX {
            return Err(InvalidFields::TooMany);
        }
        for (name, value) in &self.0 {
            if name.is_empty() || name.len() > limits::SAGA_FIELD_NAME_BYTES_MAX {
                return Err(InvalidFields::Name);
            }
            if value.len() > limits::SAGA_FIELD_BYTES_MAX {
                return Err(InvalidFields::Value);
            }
        }
        Ok(())
    }
}

impl<N: AsRef<str>, V: Into<Box<str>>> FromIterator<(N, V)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(fields: T) -> Self {
        let mut all = Self::new();
        for (name, value) in fields {
            all.insert(name.as_ref(), value);
        }
        all
    }
}
