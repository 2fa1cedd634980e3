//! The sagas' part of a snapshot: CBOR, because there are thousands of them and not millions.

use super::definition::Definition;
use super::instance::{Next, Saga};
use super::state::{Known, OldKey, Sagas, definition_digest, ended_digest, started_digest};
use crate::{SagaNo, Timestamp};
use minicbor::{Decode, Encode};
use std::collections::VecDeque;

#[derive(Encode, Decode)]
struct Written {
    #[n(0)]
    definitions: Vec<Definition>,
    #[n(1)]
    started: u64,
    #[n(2)]
    sagas: Vec<Saga>,
    #[n(3)]
    ended: Vec<(Timestamp, SagaNo)>,
    #[n(4)]
    keys: Vec<OldKey>,
    #[n(5)]
    #[cbor(default)]
    old_keys: Vec<OldKey>,
}

impl Sagas {
    /// Appends everything, as one CBOR item.
    pub(crate) fn write_snapshot(&self, out: &mut Vec<u8>) {
        let written = Written {
            definitions: self.definitions.clone(),
            started: self.started,
            sagas: self.sagas.values().cloned().collect(),
            ended: self.ended.iter().copied().collect(),
            keys: self.keys.iter().cloned().collect(),
            old_keys: self.old_keys.values().flatten().cloned().collect(),
        };
        minicbor::encode(&written, out).expect("a vector takes every write");
    }

    /// Reads what [`Sagas::write_snapshot`] wrote from the beginning of `bytes`, which is moved past it.
    pub(crate) fn read_snapshot(bytes: &mut &[u8]) -> Result<Self, &'static str> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let written: Written = decoder.decode().map_err(|_| "the sagas cannot be read")?;
        *bytes = &bytes[decoder.position()..];
        let mut sagas =
            Self { started: written.started, ended: VecDeque::from(written.ended), ..Self::new() };
        sagas.digest.add(started_digest(sagas.started));
        for &(at, no) in &sagas.ended {
            sagas.digest.add(ended_digest(at, no));
        }
        for definition in written.definitions {
            let number = sagas.definitions.len() as u32 + 1;
            sagas.digest.add(definition_digest(number, &definition));
            sagas.newest.insert(definition.name.clone(), number);
            sagas.definitions.push(definition);
        }
        for saga in written.sagas {
            let definition =
                sagas.definition(saga.definition).ok_or("a saga has a definition that is not there")?;
            if saga.steps.len() != definition.steps.len() {
                return Err("a saga has other steps than its definition");
            }
            let (due, ready) = (saga.due(definition), saga.next(definition) != Next::Wait);
            let key = (definition.name.clone(), saga.key.clone());
            sagas.deadlines.extend(due.map(|due| (due, saga.no)));
            if ready {
                sagas.ready.insert(saga.no);
            }
            sagas.said.extend(saga.said());
            sagas.parked.extend(saga.parked_since());
            sagas.under_way += u64::from(saga.is_under_way());
            sagas.digest.add(saga.digest());
            let known = Known { saga: saga.no, input: Some(saga.input.digest()) };
            if sagas.by_key.insert(key, known).is_some() || sagas.sagas.insert(saga.no, saga).is_some() {
                return Err("a saga is there twice");
            }
        }
        for key in written.keys.iter().chain(&written.old_keys) {
            sagas.digest.add(key.digest());
            let known = Known { saga: key.saga, input: key.input };
            if sagas.by_key.insert((key.name.clone(), key.key.clone()), known).is_some() {
                return Err("a saga's key is there twice");
            }
        }
        sagas.keys = VecDeque::from(written.keys);
        for key in written.old_keys {
            sagas.old_keys.entry(key.name.clone()).or_default().push_back(key);
        }
        Ok(sagas)
    }
}
