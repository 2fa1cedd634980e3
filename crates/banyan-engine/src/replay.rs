//! Bringing a state up to date from the log.
//!
//! Reading and decoding run on one thread, applying on another: each takes about half of the time.

use crate::start::StartError;
use banyan_domain::{Entry, Event, State, Timestamp, codec};
use banyan_log::{Block, LogReader};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Decoded events in one hand-over from the reading to the applying thread.
const CHUNK_EVENTS: usize = 8_192;
/// Hand-overs that may wait.
const CHUNKS_AHEAD: usize = 4;

/// One block, decoded.
struct Decoded {
    first_seq: u64,
    time: Timestamp,
    entries: Vec<Entry>,
}

type Chunk = Result<Vec<Decoded>, StartError>;

/// Applies every block that `reader` yields to `state`, or to a new state if the log starts with its creation.
///
/// # Errors
/// [`StartError`] at the first block that cannot be read, decoded or applied.
pub fn replay(
    reader: &mut dyn LogReader,
    mut state: Option<State>,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<State>, StartError> {
    std::thread::scope(|scope| {
        let (to_apply, chunks) = sync_channel::<Chunk>(CHUNKS_AHEAD);
        let reading = std::thread::Builder::new().name("banyan-replay".into());
        reading.spawn_scoped(scope, move || read(reader, &to_apply)).map_err(StartError::Thread)?;
        for chunk in chunks {
            for block in chunk? {
                apply(&block, &mut state)?;
            }
            progress(state.as_ref().map_or(0, State::seq));
        }
        Ok(state)
    })
}

/// Decodes blocks and hands them over, until the log ends, a fault is handed over, or nobody takes them any more.
fn read(reader: &mut dyn LogReader, to_apply: &SyncSender<Chunk>) {
    let mut block = Block::default();
    let mut chunk = Vec::new();
    let mut events = 0;
    loop {
        let next = match reader.next(&mut block).map_err(StartError::Log) {
            Ok(true) if block.count == 0 => continue,
            Ok(true) => decode(&block),
            Ok(false) => {
                let _nobody_listens = to_apply.send(Ok(chunk));
                return;
            }
            Err(fault) => Err(fault),
        };
        match next {
            Ok(decoded) => {
                events += decoded.entries.len();
                chunk.push(decoded);
            }
            Err(fault) => {
                // What was read before the fault is applied first: a fault in it comes earlier in the log.
                let _nobody_listens = to_apply.send(Ok(chunk)).and_then(|()| to_apply.send(Err(fault)));
                return;
            }
        }
        if events >= CHUNK_EVENTS {
            events = 0;
            if to_apply.send(Ok(std::mem::take(&mut chunk))).is_err() {
                return;
            }
        }
    }
}

/// Applies the events of one block that the state does not have yet.
pub(crate) fn apply_block(block: &Block, state: &mut Option<State>) -> Result<(), StartError> {
    apply(&decode(block)?, state)
}

fn decode(block: &Block) -> Result<Decoded, StartError> {
    let first_seq = block.first_seq.as_u64();
    let mut entries = Vec::with_capacity(block.count as usize);
    for entry in codec::decode(&block.body, block.count) {
        entries.push(entry.map_err(|source| StartError::Decode { seq: first_seq, source })?);
    }
    Ok(Decoded { first_seq, time: Timestamp::from_millis(block.time_ms), entries })
}

fn apply(block: &Decoded, state: &mut Option<State>) -> Result<(), StartError> {
    let mut begun = false;
    for (seq, entry) in (block.first_seq..).zip(&block.entries) {
        let Some(state) = state.as_mut() else {
            let Event::StoreCreated { secret } = &entry.event else { return Err(StartError::NotAStore) };
            if seq != 1 {
                return Err(StartError::NotAStore);
            }
            let mut created = State::new(secret.clone());
            created.begin_block(block.time);
            begun = true;
            *state = Some(created);
            continue;
        };
        if seq <= state.seq() {
            continue;
        }
        if !begun {
            if block.time < state.time() {
                let (time_ms, before) = (block.time.as_millis(), state.time());
                return Err(StartError::TimeWentBack { seq, time_ms, before });
            }
            state.begin_block(block.time);
            begun = true;
        }
        state.apply(entry).map_err(|violation| StartError::Violation { seq, violation })?;
    }
    Ok(())
}
