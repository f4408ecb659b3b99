//! What the writer writes, read back; and every corruption of it.

use std::collections::BTreeSet;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn chunk(min_time: i64, max_time: i64, reference: u64) -> ChunkMeta {
    ChunkMeta { min_time, max_time, reference }
}

fn sample() -> (Vec<(Labels, Vec<ChunkMeta>)>, Vec<u8>) {
    let series = vec![
        (labels(&[("__name__", "a"), ("job", "x")]), vec![chunk(-5, 10, 8), chunk(11, 20, 40)]),
        (labels(&[("__name__", "a"), ("job", "y")]), vec![chunk(0, 0, 90)]),
        (labels(&[("__name__", "b"), ("é", "ü")]), vec![chunk(7, i64::MAX, (3 << 32) | 8)]),
    ];
    let symbols: BTreeSet<String> = series
        .iter()
        .flat_map(|(labels, _)| labels.iter().flat_map(|(n, v)| [n.to_owned(), v.to_owned()]))
        .collect();
    let mut writer = IndexWriter::new(Vec::new(), symbols.iter().map(String::as_str)).unwrap();
    for (labels, chunks) in &series {
        writer.add_series(labels, chunks).unwrap();
    }
    (series, writer.finish().unwrap())
}

#[test]
fn what_was_written_is_read() {
    let (series, bytes) = sample();
    let index = Index::open(Box::new(bytes)).unwrap();
    assert_eq!(index.version(), 2);
    let ids = index.all_postings().unwrap();
    let read: Vec<(Labels, Vec<ChunkMeta>)> = ids
        .iter()
        .map(|id| index.series(*id).map(|entry| (entry.labels, entry.chunks)).unwrap())
        .collect();
    assert_eq!(read, series);
    assert_eq!(index.label_names().collect::<Vec<_>>(), ["__name__", "job", "é"]);
    assert_eq!(index.label_values("job").collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(index.label_values("no").count(), 0);
    assert_eq!(index.postings("__name__", "a").unwrap(), ids[..2]);
    assert_eq!(index.postings("__name__", "c").unwrap(), []);
    assert_eq!(index.postings_where("job", "", |value| value != "x").unwrap(), ids[1..2]);
}

#[test]
fn what_is_out_of_order_is_refused() {
    let order = IndexWriter::new(Vec::new(), ["b", "a"]).unwrap_err();
    assert!(matches!(order, WriteError::Order(_)));
    let mut writer = IndexWriter::new(Vec::new(), ["a", "b", "c"]).unwrap();
    writer.add_series(&labels(&[("a", "c")]), &[]).unwrap();
    let order = writer.add_series(&labels(&[("a", "b")]), &[]).unwrap_err();
    assert!(matches!(order, WriteError::Order(_)));
    let unknown = writer.add_series(&labels(&[("a", "d")]), &[]).unwrap_err();
    assert!(matches!(unknown, WriteError::NoSymbol(symbol) if symbol == "d"));
    let overlap = [chunk(0, 5, 8), chunk(5, 6, 20)];
    let overlap = writer.add_series(&labels(&[("b", "c")]), &overlap).unwrap_err();
    assert!(matches!(overlap, WriteError::Chunks(_)));
}

/// Everything that an index can be asked, or the first error.
fn read_all(bytes: Vec<u8>) -> Result<Vec<SeriesEntry>, FormatError> {
    let index = Index::open(Box::new(bytes))?;
    for name in index.label_names() {
        index.postings_where(name, "", |_| true)?;
    }
    let ids = index.all_postings()?;
    assert_eq!(piece_by_piece(&index, "", "")?, ids);
    ids.into_iter().map(|id| index.series(id)).collect()
}

fn piece_by_piece(index: &Index, name: &str, value: &str) -> Result<Vec<u32>, FormatError> {
    let mut ids = Vec::new();
    if let Some(mut list) = index.stored_postings(name, value)? {
        while let Some(id) = index.next_of(&mut list)? {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[test]
fn a_list_of_many_pieces_is_read_as_it_is() {
    let values: Vec<String> = (0..10_000).map(|number| format!("v{number:05}")).collect();
    let values_of = values.iter().map(String::as_str);
    let symbols = ["all", "few"].into_iter().chain(values_of).chain(["value"]);
    let mut writer = IndexWriter::new(Vec::new(), symbols).unwrap();
    let mut few = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let rare = ("few", if at % 700 == 0 { "value" } else { "all" });
        let id = writer.add_series(&labels(&[("all", value), rare]), &[]).unwrap();
        if rare.1 == "value" {
            few.push(id);
        }
    }
    let bytes = writer.finish().unwrap();
    let index = Index::open(Box::new(bytes.clone())).unwrap();
    assert_eq!(piece_by_piece(&index, "few", "value").unwrap(), few);
    let all = piece_by_piece(&index, "", "").unwrap();
    assert_eq!((all.len(), &all), (10_000, &index.all_postings().unwrap()));
    // The last piece of the list of all, which comes first.
    let mut changed = bytes;
    let at = usize::try_from(index.toc.postings).unwrap() + 39_000;
    changed[at] ^= 1;
    let index = Index::open(Box::new(changed)).unwrap();
    let error = piece_by_piece(&index, "", "").unwrap_err();
    assert!(matches!(error, FormatError::Checksum { what: "postings", .. }), "{error}");
}

#[test]
fn a_changed_byte_is_an_error_or_changes_nothing() {
    let (_, bytes) = sample();
    let expected = read_all(bytes.clone()).unwrap();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            // Padding and the version byte are not covered by a checksum.
            match read_all(changed) {
                Ok(read) => assert_eq!(read, expected, "byte {at}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn a_cut_index_is_an_error() {
    let (_, bytes) = sample();
    for length in 0..bytes.len() {
        assert!(read_all(bytes[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let (_, bytes) = sample();
    let text = |bytes: Vec<u8>| read_all(bytes).unwrap_err().to_string();
    let change = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        bytes
    };
    assert_eq!(text(change(0, 0)), "magic number 0x00aad700 is not that of an index");
    assert_eq!(text(change(4, 9)), "version 9 of the index is not supported");
    assert_eq!(text(change(12, 99)), "checksum of symbol table at offset 5 does not match");
    let end = bytes.len() - 1;
    let toc = format!("checksum of table of contents at offset {} does not match", end - 51);
    assert_eq!(text(change(end, bytes[end] ^ 1)), toc);
}

#[test]
fn a_value_that_is_twice_in_the_table_is_an_error() {
    let (_, mut bytes) = sample();
    let place = bytes.len() - 12;
    let table = u64::from_be_bytes(*bytes[place..].first_chunk().unwrap()) as usize;
    let from = table + 4;
    let to = from + be32(&bytes[table..]) as usize;
    let value = bytes[from..to].windows(5).position(|window| window == b"job\x01y").unwrap();
    bytes[from + value + 4] = b'x';
    let checksum = crc32c::crc32c(&bytes[from..to]).to_be_bytes();
    bytes[to..to + 4].copy_from_slice(&checksum);
    let error = read_all(bytes).unwrap_err().to_string();
    assert_eq!(error, format!("order of postings offset table at offset {table} is corrupt"));
}
