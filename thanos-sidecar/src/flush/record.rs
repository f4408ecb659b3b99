//! What was flushed: a small file beside the blocks.

use std::path::Path;

use block::Meta;
use serde::{Deserialize, Serialize};
use tracing::error;

use super::Error;
use crate::prometheus::answer::HeadSpan;

const NAME: &str = "shoal.flush.json";

/// More heads than that are not remembered: the oldest blocks are gone by then.
const MOST: usize = 64;

/// What Prometheus writes into the description of a block of samples that came late. No snapshot has those.
const OUT_OF_ORDER: &str = "from-out-of-order";

/// Which heads are in the bucket, and which one is on its way there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// In the order in which they were flushed.
    shipped: Vec<Shipped>,
    begun: Option<Begun>,
}

/// A head that is in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shipped {
    /// Its first and its last sample, in milliseconds.
    min_time: i64,
    max_time: i64,
    samples: u64,
}

/// A snapshot that is being shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Begun {
    min_time: i64,
    max_time: i64,
    pub snapshot: String,
}

impl Record {
    /// Reads the file. One that is missing or damaged counts as nothing done: the head is shipped again, then, as a
    /// block of its own.
    pub fn read(dir: &Path) -> Self {
        let path = dir.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
                error!(file = %path.display(), error = %cause, "record of flushes is broken and counts as none");
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        let failed = |source| Error::Write { path: path.clone(), source };
        let bytes = serde_json::to_vec(self).map_err(|cause| failed(cause.into()))?;
        svc::durable::write(&path, &bytes).map_err(failed)
    }

    /// From now on this snapshot of a head is being shipped.
    pub fn begin(&mut self, head: HeadSpan, snapshot: String) {
        let HeadSpan { min_time, max_time } = head;
        self.begun = Some(Begun { min_time, max_time, snapshot });
    }

    /// What was begun with is in the bucket, with so many samples.
    pub fn finish(&mut self, samples: u64) {
        let Some(Begun { min_time, max_time, .. }) = self.begun.take() else { return };
        self.shipped.push(Shipped { min_time, max_time, samples });
        let surplus = self.shipped.len().saturating_sub(MOST);
        self.shipped.drain(..surplus);
    }

    /// What was begun with is not shipped after all.
    pub fn forget(&mut self) {
        self.begun = None;
    }

    pub fn begun(&self) -> Option<&Begun> {
        self.begun.as_ref()
    }

    /// Whether a head that ends then is in the bucket.
    pub fn covers(&self, max_time: i64) -> bool {
        self.shipped.iter().any(|shipped| max_time <= shipped.max_time)
    }

    /// Whether all samples of a block that Prometheus has written are in the bucket as those of a head: the block lies
    /// within it, or begins where it began and has as many samples. Such a block ends where block durations do.
    pub fn has(&self, block: &Meta) -> bool {
        if block.compaction.hints.iter().any(|hint| hint == OUT_OF_ORDER) {
            return false;
        }
        self.shipped.iter().any(|head| {
            let within = head.min_time <= block.min_time && block.max_time - 1 <= head.max_time;
            let is_the_same = head.min_time == block.min_time
                && head.max_time < block.max_time
                && head.samples == block.stats.num_samples;
            within || is_the_same
        })
    }
}

impl Begun {
    /// Whether it was made of a head with these samples.
    pub fn is_of(&self, head: HeadSpan) -> bool {
        (self.min_time, self.max_time) == (head.min_time, head.max_time)
    }

    /// Whether a block of the snapshot is the head's.
    pub fn is_head(&self, block: &Meta) -> bool {
        block.max_time - 1 == self.max_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(min_time: i64, max_time: i64, samples: u64, hints: &[&str]) -> Meta {
        let text = serde_json::json!({
            "ulid": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "version": 1,
            "minTime": min_time, "maxTime": max_time,
            "stats": {"numSamples": samples},
            "compaction": {"level": 1, "hints": hints},
        });
        Meta::parse(text.to_string().as_bytes(), "test").unwrap()
    }

    #[test]
    fn a_record_survives_and_a_broken_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::read(folder.path());
        assert_eq!(record, Record::default());
        let head = HeadSpan { min_time: 3, max_time: 7 };
        record.begin(head, "s".to_owned());
        record.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), record);
        let begun = record.begun().unwrap();
        assert!(begun.is_of(head) && !begun.is_of(HeadSpan { max_time: 8, ..head }));
        assert!(begun.is_head(&block(3, 8, 1, &[])) && !begun.is_head(&block(0, 3, 1, &[])));
        assert!(!record.covers(7));
        record.finish(5);
        assert!(record.covers(7) && !record.covers(8) && record.begun().is_none());
        for text in ["", "{", "[]", r#"{"shipped":[],"begun":null,"more":1}"#] {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(Record::read(folder.path()), Record::default(), "{text}");
        }
    }

    #[test]
    fn a_block_of_samples_that_are_in_the_bucket_is_known() {
        let mut record = Record::default();
        record.begin(HeadSpan { min_time: 100, max_time: 250 }, "s".to_owned());
        assert!(!record.has(&block(100, 251, 9, &[])), "it is not there yet");
        record.finish(9);
        for (min, max, samples, has) in [
            (100, 251, 9, true),
            (100, 200, 6, true),
            (200, 251, 3, true),
            // The head as Prometheus writes it out: to the end of a block duration.
            (100, 300, 9, true),
            (100, 300, 10, false),
            (200, 300, 9, false),
            (90, 200, 6, false),
            (90, 300, 9, false),
            (251, 300, 1, false),
        ] {
            assert_eq!(record.has(&block(min, max, samples, &[])), has, "{min} {max} {samples}");
        }
        assert!(!record.has(&block(100, 200, 6, &[OUT_OF_ORDER])), "a snapshot has none of these");
    }

    #[test]
    fn a_head_that_was_begun_with_may_be_forgotten_and_no_more_than_some_are_remembered() {
        let mut record = Record::default();
        record.begin(HeadSpan { min_time: 0, max_time: 9 }, "s".to_owned());
        record.forget();
        assert_eq!(record, Record::default());
        for number in 0..100 {
            record.begin(HeadSpan { min_time: number, max_time: number }, "s".to_owned());
            record.finish(1);
        }
        assert_eq!(record.shipped.len(), MOST);
        assert!(record.covers(99));
    }
}
