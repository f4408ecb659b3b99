//! The table of postings: for each label name and value, where the list of its series lies.

use crate::cursor::Cursor;
use crate::index::section::checked_section;
use crate::{FormatError, ReadAt};

/// The table, in memory, sorted by name and value.
pub(super) struct PostingsTable {
    text: String,
    names: Vec<Name>,
    values: Vec<Value>,
}

/// A name and its values, which lie beside each other in [`PostingsTable::values`].
struct Name {
    name: String,
    values: std::ops::Range<usize>,
}

struct Value {
    start: u32,
    end: u32,
    offset: u64,
}

/// Name, value, and where the list lies.
type Entry<'a> = (&'a str, &'a str, u64);

/// The entries in the order of the file; nothing after an error.
#[derive(Clone)]
struct Entries<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<Entry<'a>, FormatError> {
        if self.cursor.u8()? != 2 {
            return Err(self.cursor.corrupt());
        }
        Ok((self.cursor.string()?, self.cursor.string()?, self.cursor.uvarint()?))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.read();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

/// Whether every entry has another name or value than the one before, and comes after it.
fn is_ascending<'a>(
    entries: impl Iterator<Item = Result<Entry<'a>, FormatError>>,
) -> Result<bool, FormatError> {
    let mut before = None;
    for entry in entries {
        let (name, value, _) = entry?;
        if before.is_some_and(|before| before >= (name, value)) {
            return Ok(false);
        }
        before = Some((name, value));
    }
    Ok(true)
}

impl PostingsTable {
    pub(super) fn read(source: &dyn ReadAt, offset: u64) -> Result<Self, FormatError> {
        let what = "postings offset table";
        let body = checked_section(source, what, offset)?;
        let mut cursor = Cursor::new(&body, offset + 4, what);
        let count = cursor.be32()? as usize;
        // Each takes four bytes at least.
        if count > cursor.remaining() / 4 {
            return Err(cursor.corrupt());
        }
        let entries = Entries { cursor, left: count };
        let corrupt = FormatError::Corrupt { what: "order of postings offset table", offset };
        // Twice over the bytes, so that nothing but the table is held.
        if is_ascending(entries.clone())? {
            return Self::from_ascending(count, entries);
        }
        // Version 1 did not sort them.
        let mut sorted = entries.collect::<Result<Vec<Entry<'_>>, FormatError>>()?;
        sorted.sort_unstable();
        match is_ascending(sorted.iter().copied().map(Ok))? {
            true => Self::from_ascending(count, sorted.into_iter().map(Ok)),
            false => Err(corrupt),
        }
    }

    fn from_ascending<'a>(
        count: usize,
        entries: impl Iterator<Item = Result<Entry<'a>, FormatError>>,
    ) -> Result<Self, FormatError> {
        let too_large = FormatError::Corrupt { what: "postings offset table", offset: 0 };
        let mut table =
            Self { text: String::new(), names: Vec::new(), values: Vec::with_capacity(count) };
        for entry in entries {
            let (name, value, offset) = entry?;
            let index = table.values.len();
            match table.names.last_mut() {
                Some(last) if last.name == name => last.values.end = index + 1,
                _ => {
                    table.names.push(Name { name: name.to_owned(), values: index..index + 1 });
                }
            }
            let start = table.text.len();
            table.text.push_str(value);
            let ends = (u32::try_from(start), u32::try_from(table.text.len()));
            let (Ok(start), Ok(end)) = ends else { return Err(too_large) };
            table.values.push(Value { start, end, offset });
        }
        table.text.shrink_to_fit();
        Ok(table)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.name.as_str())
    }

    fn of_name(&self, name: &str) -> &[Value] {
        match self.names.binary_search_by(|candidate| candidate.name.as_str().cmp(name)) {
            Ok(index) => &self.values[self.names[index].values.clone()],
            Err(_) => &[],
        }
    }

    fn text(&self, value: &Value) -> &str {
        &self.text[value.start as usize..value.end as usize]
    }

    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.of_name(name).iter().map(|value| self.text(value))
    }

    pub(super) fn find(&self, name: &str, value: &str) -> Option<u64> {
        let values = self.of_name(name);
        let found = values.binary_search_by(|candidate| self.text(candidate).cmp(value)).ok()?;
        Some(values[found].offset)
    }

    pub(super) fn entries_with_prefix<'a>(
        &'a self,
        name: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        let values = self.of_name(name);
        let from = values.partition_point(|value| self.text(value) < prefix);
        values[from..]
            .iter()
            .map(|value| (self.text(value), value.offset))
            .take_while(move |(value, _)| value.starts_with(prefix))
    }
}
