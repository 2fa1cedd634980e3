//! What every kind of old database must do alike.

use banyan_legacy::{Digests, KeyRange, OldDatabase, PageKey, digest_of};

/// Asks for the digests of ranges of the first table, which must have `rows` rows, some hundreds, of which `end` is the key of one:
/// they are those of the rows as they are read, and no range that has grown too large has its own. Gives what was asked and
/// answered: the whole table, and its three parts.
///
/// # Panics
/// If they are not.
pub async fn digests_are_of_the_rows(
    database: &dyn OldDatabase,
    rows: u64,
    end: PageKey,
) -> ([KeyRange; 4], Digests) {
    let page = database.read_page(0, None, 200).await.expect("rows");
    let middle = page.next.clone().expect("there are more");
    let ranges = [
        KeyRange::default(),
        KeyRange { after: None, until: Some(middle.clone()) },
        KeyRange { after: Some(middle), until: Some(end.clone()) },
        KeyRange { after: Some(end), until: None },
    ];
    let digests = database.digest_ranges(0, &ranges, 1_000).await.expect("an answer").expect("digests");
    for (range, digest) in ranges.iter().zip(&digests.of) {
        let read = database.read_range(0, range, 1_000).await.expect("rows").rows;
        assert_eq!((digest.rows, &digest.digest), (read.len() as u64, &digest_of(&read)), "{range:?}");
    }
    let parts: u64 = digests.of[1..].iter().map(|part| part.rows).sum();
    assert_eq!((digests.of[0].rows, parts), (rows, rows), "the parts are the whole");
    assert_eq!(digests.of[1].digest, digest_of(&page.rows));
    let too_many = u32::try_from(rows - 1).expect("some hundreds");
    let grown = database.digest_ranges(0, &ranges[..1], too_many).await.expect("an answer").expect("digests");
    assert_ne!(grown.of[0], digests.of[0], "a range that has grown too large differs");
    (ranges, digests)
}
