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
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            if cursor.u8()? != 2 {
                return Err(cursor.corrupt());
            }
            let (name, value) = (cursor.string()?, cursor.string()?);
            entries.push((name, value, cursor.uvarint()?));
        }
        // Version 1 did not sort them.
        if !entries.is_sorted() {
            entries.sort_unstable();
        }
        let same = |pair: &[(&str, &str, u64)]| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1);
        if entries.windows(2).any(same) {
            return Err(FormatError::Corrupt { what: "order of postings offset table", offset });
        }
        Self::from_sorted(&entries).ok_or_else(|| cursor.corrupt())
    }

    fn from_sorted(entries: &[(&str, &str, u64)]) -> Option<Self> {
        let mut table = Self {
            text: String::with_capacity(entries.iter().map(|(_, value, _)| value.len()).sum()),
            names: Vec::new(),
            values: Vec::with_capacity(entries.len()),
        };
        for (name, value, offset) in entries {
            let index = table.values.len();
            match table.names.last_mut() {
                Some(last) if last.name == *name => last.values.end = index + 1,
                _ => {
                    table.names.push(Name { name: (*name).to_owned(), values: index..index + 1 });
                }
            }
            let start = u32::try_from(table.text.len()).ok()?;
            table.text.push_str(value);
            let end = u32::try_from(table.text.len()).ok()?;
            table.values.push(Value { start, end, offset: *offset });
        }
        Some(table)
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
