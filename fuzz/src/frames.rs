//! Messages of StoreAPI's Series stream, down to the samples in them. Half of the inputs are whole messages, which have
//! to say what the generated types say; the other half are such messages with bytes changed.

use prost::Message as _;
use proto::thanos::series_response::Result as Wire;
use proto::thanos::{AggrChunk, Chunk, Label, Series, SeriesBatch, SeriesResponse};
use tsdb::chunk::Encoding;

use crate::Target;
use crate::chunks::payload;
use crate::random::{Random, mutate, splice};

/// See the module.
#[derive(Debug)]
pub struct Frames;

impl Target for Frames {
    fn name(&self) -> &'static str {
        "frames"
    }

    fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut input = message(random).encode_to_vec();
        match random.below(8) {
            0..4 => {}
            4 => {
                let other = message(random).encode_to_vec();
                input = splice(random, &input, &other);
            }
            5 => input = (0..random.below(60)).map(|_| random.next() as u8).collect(),
            _ => mutate(random, &mut input),
        }
        input
    }

    fn check(&self, input: &[u8]) -> Result<(), String> {
        let read = query::storage::read_message(input.to_vec());
        for series in read.iter().flat_map(|message| &message.series) {
            let samples = &series.samples;
            if samples.timestamps.len() != samples.values.len() {
                return Err("columns of different lengths".to_owned());
            }
            if !samples.timestamps.is_sorted_by(|a, b| a < b) {
                return Err("timestamps do not ascend".to_owned());
            }
            let within = |index: usize| index < samples.timestamps.len();
            if !samples.histograms.iter().all(|histogram| within(histogram.index)) {
                return Err("a histogram at no time".to_owned());
            }
        }
        // Of a message that is written as the generated types would write it, both readers say the same.
        let Ok(generated) = SeriesResponse::decode(input) else { return Ok(()) };
        if generated.encode_to_vec() != input {
            return Ok(());
        }
        let wanted = match generated.result {
            Some(Wire::Series(series)) => vec![series],
            Some(Wire::Batch(batch)) => batch.series,
            _ => Vec::new(),
        };
        let wanted: Vec<_> =
            wanted.iter().map(|s| proto::convert::labels_from_thanos(&s.labels)).collect();
        let read = read.map_err(|error| format!("only ours fails: {error}"))?;
        let found: Vec<_> = read.series.into_iter().map(|series| series.labels).collect();
        if found == wanted { Ok(()) } else { Err(format!("{found:?} and {wanted:?}")) }
    }
}

fn message(random: &mut Random) -> SeriesResponse {
    let result = match random.below(8) {
        0 => None,
        1 => Some(Wire::Warning("a warning".to_owned())),
        2 | 3 => {
            let series = (0..random.below(4)).map(|_| series(random)).collect();
            Some(Wire::Batch(SeriesBatch { series }))
        }
        _ => Some(Wire::Series(series(random))),
    };
    SeriesResponse { result }
}

fn series(random: &mut Random) -> Series {
    let text = |random: &mut Random| {
        (*random.pick(&["", "__name__", "a", "b", "job", "ü", "with.dot"])).to_owned()
    };
    let labels =
        (0..random.below(5)).map(|_| Label { name: text(random), value: text(random) }).collect();
    Series { labels, chunks: (0..random.below(4)).map(|_| aggregates(random)).collect() }
}

fn aggregates(random: &mut Random) -> AggrChunk {
    let (first, second) = (random.number(), random.number());
    let mut all = AggrChunk {
        min_time: first.min(second),
        max_time: first.max(second),
        raw: Some(chunk(random)),
        ..AggrChunk::default()
    };
    if random.once_in(6) {
        (all.raw, all.count, all.counter) = (None, Some(chunk(random)), Some(chunk(random)));
    }
    all
}

/// StoreAPI counts encodings from one less than the format does.
fn chunk(random: &mut Random) -> Chunk {
    let number = 1 + random.below(6) as u8;
    let data = Encoding::from_disk(number).map(|encoding| payload(random, encoding));
    let mut data = data.unwrap_or_default();
    if random.once_in(3) {
        mutate(random, &mut data);
    }
    let kind = if random.once_in(20) { random.number() as i32 } else { i32::from(number) - 1 };
    Chunk { r#type: kind, data: data.into(), hash: random.next() >> 60 }
}
