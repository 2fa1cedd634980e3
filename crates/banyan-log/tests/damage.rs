//! Whatever happens to the files of a log, opening it gives exactly what was acknowledged, or refuses.

mod common;

use banyan_log::{Block, DiskOptions, Log, LogError, MemoryStorage, Storage, Verdict};
use common::{append, fill, goes_on, open, read_all, read_offline, small, tiny};

struct Sound {
    storage: MemoryStorage,
    options: DiskOptions,
    blocks: Vec<Block>,
    names: Vec<String>,
}

/// A log of a few segments with a spare behind them.
fn sound(options: DiskOptions, blocks: u64) -> Sound {
    let storage = MemoryStorage::new();
    let mut log = open(&storage, &options).expect("open");
    fill(&mut log, blocks, options.block_bytes_max as usize);
    let blocks = read_all(&log).expect("read");
    assert!(log.health().segments >= 3 && log.health().spare_ready, "the log spans segments");
    drop(log);
    let names = storage.list().expect("list").into_iter().filter(|name| name != "LOCK").collect();
    Sound { storage: storage.kill(), options, blocks, names }
}

impl Sound {
    /// Opens a damaged copy. True if it was refused; panics if it was opened and holds anything but every block.
    fn refused(&self, damaged: &MemoryStorage, what: &str) -> bool {
        match open(damaged, &self.options) {
            Ok(log) => {
                let left = read_all(&log).unwrap_or_else(|error| panic!("{what}: opened, then {error}"));
                assert_eq!(left, self.blocks, "{what}: opened with other blocks");
                false
            }
            Err(LogError::Corrupt(damage)) => {
                assert!(
                    !damage.file.is_empty() && !damage.expected.is_empty(),
                    "{what}: says where and what"
                );
                true
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    flip_bits(&sound(tiny(), 12), 1);
}

/// Blocks of several sectors, and segments with zeros behind their seals.
#[test]
fn flipped_bits_of_larger_blocks_are_refused() {
    flip_bits(&sound(small(), 20), 37);
}

fn flip_bits(sound: &Sound, step: usize) {
    let bits = |name: &String| sound.storage.bytes(name).expect("there").len() * 8;
    let all: Vec<(&String, usize)> = sound
        .names
        .iter()
        .flat_map(|name| (0..bits(name)).step_by(step).map(move |bit| (name, bit)))
        .collect();
    std::thread::scope(|scope| {
        for half in all.chunks(all.len().div_ceil(2)) {
            scope.spawn(move || {
                // Nothing is changed by a refusal, so one copy serves for all.
                let storage = sound.storage.kill();
                for (name, bit) in half {
                    storage.flip_bit(name, *bit);
                    let what = format!("bit {bit} of {name}");
                    assert!(sound.refused(&storage, &what), "{what} was not noticed");
                    storage.flip_bit(name, *bit);
                }
                assert!(!sound.refused(&storage, "the sound log"), "flipped back it opens");
            });
        }
    });
}

/// Sectors of a log that differs only in its events are valid for their place; the hashes tell.
#[test]
fn sectors_of_a_twin_are_refused() {
    let twin = |salt: u8| {
        let storage = MemoryStorage::new();
        let mut log = open(&storage, &small()).expect("open");
        let acquired = log.acquire().expect("acquire");
        for block in 0..6 {
            append(&mut log, acquired.epoch, block * 2 + 1, &vec![salt; 300 + block as usize % 2 * 600]);
        }
        let blocks = read_all(&log).expect("read");
        drop(log);
        let names = storage.list().expect("list");
        Sound { storage: storage.kill(), options: small(), blocks, names }
    };
    let (ours, theirs) = (twin(1), twin(2));
    let name = "00000000000000000001.seg";
    let (bytes, other) =
        (ours.storage.bytes(name).expect("there"), theirs.storage.bytes(name).expect("there"));
    // Sector 2 holds the epoch start, which is the same.
    let differing: Vec<usize> =
        (0..16).filter(|at| bytes[at * 512..][..512] != other[at * 512..][..512]).collect();
    assert_eq!(
        differing,
        [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
        "three blocks of one sector, three of three"
    );
    for at in differing {
        let mut spliced = bytes.clone();
        spliced[at * 512..][..512].copy_from_slice(&other[at * 512..][..512]);
        let storage = ours.storage.kill();
        storage.replace(name, spliced);
        assert!(ours.refused(&storage, &format!("sector {at} of a twin")), "sector {at}");
    }
}

#[test]
fn offline_reading_stops_in_front_of_a_flipped_bit() {
    let sound = sound(tiny(), 12);
    for name in &sound.names {
        for bit in (0..sound.storage.bytes(name).expect("there").len() * 8).step_by(97) {
            let storage = sound.storage.kill();
            storage.flip_bit(name, bit);
            let (blocks, verdict) = read_offline(&storage, false);
            assert!(matches!(verdict, Verdict::Corrupt(_)), "bit {bit} of {name}: {verdict:?}");
            assert_eq!(blocks, sound.blocks[..blocks.len()], "bit {bit} of {name}: only what was written");
        }
    }
    assert_eq!(read_offline(&sound.storage, false), (sound.blocks.clone(), Verdict::Clean));
}

#[test]
fn every_truncation_is_refused() {
    let sound = sound(tiny(), 12);
    for name in &sound.names {
        let bytes = sound.storage.bytes(name).expect("there");
        for length in 0..bytes.len() {
            let storage = sound.storage.kill();
            storage.replace(name, bytes[..length].to_vec());
            let what = format!("{name} cut to {length} bytes");
            assert!(sound.refused(&storage, &what), "{what} was not noticed");
        }
        let storage = sound.storage.kill();
        storage.replace(name, [bytes.as_slice(), &[0; 512]].concat());
        assert!(sound.refused(&storage, &format!("{name} made longer")));
    }
}

#[test]
fn every_missing_file_is_refused_but_the_spare() {
    let sound = sound(small(), 20);
    let spare =
        sound.names.iter().filter(|name| name.ends_with(".seg")).max().expect("there are segments").clone();
    for name in &sound.names {
        let storage = sound.storage.kill();
        storage.remove(name).expect("remove");
        let refused = sound.refused(&storage, &format!("without {name}"));
        assert_eq!(refused, *name != spare, "without {name}");
    }
    let storage = sound.storage.kill();
    storage.remove(&spare).expect("remove");
    goes_on(&storage, &sound.options);
}

#[test]
fn a_missing_segment_names_the_file() {
    let sound = sound(small(), 20);
    sound.storage.remove("00000000000000000002.seg").expect("remove");
    let error = open(&sound.storage, &sound.options).map(drop).expect_err("a segment is missing");
    let text = error.to_string();
    assert!(text.contains("00000000000000000002.seg") && text.contains("banyan log verify"), "{text}");
}

#[test]
fn segments_of_another_log_are_refused() {
    let sound = sound(small(), 20);
    let other = MemoryStorage::new();
    let mut log = open(&other, &sound.options).expect("open");
    fill(&mut log, 3, 700);
    fill(&mut log, 30, 900);
    drop(log);
    for name in sound.names.iter().filter(|name| name.ends_with(".seg")) {
        let (Some(theirs), Some(ours)) = (other.bytes(name), sound.storage.bytes(name)) else { continue };
        let storage = sound.storage.kill();
        storage.replace(name, theirs.clone());
        assert_eq!(sound.refused(&storage, &format!("{name} from another log")), theirs != ours);
    }
}

#[test]
fn swapped_sectors_are_refused() {
    let sound = sound(small(), 20);
    let name = "00000000000000000002.seg";
    let bytes = sound.storage.bytes(name).expect("there");
    for at in 1..bytes.len() / 512 {
        let mut swapped = bytes.clone();
        swapped[..(at + 1) * 512].rotate_right(512);
        let storage = sound.storage.kill();
        storage.replace(name, swapped);
        assert!(sound.refused(&storage, &format!("sectors 0 to {at} rotated")));
    }
}

/// Damage in a sealed segment is found by the reader when opening only looked at the end.
#[test]
fn readers_find_what_opening_did_not_look_at() {
    let sound = sound(tiny(), 12);
    let options = DiskOptions { verify_all: false, ..sound.options.clone() };
    let name = "00000000000000000001.seg";
    for bit in (1024 * 8..4096 * 8).step_by(61) {
        let storage = sound.storage.kill();
        storage.flip_bit(name, bit);
        let log = open(&storage, &options).expect("the end is sound");
        // Zeros behind a seal are nobody's data; everything else must be noticed.
        match read_all(&log) {
            Err(LogError::Corrupt(damage)) => assert!(damage.file.ends_with(name)),
            Ok(blocks) => assert_eq!(blocks, sound.blocks, "bit {bit}"),
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}
