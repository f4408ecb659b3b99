//! The decoders of chunk payloads. An input's first byte says what follows: 0 the seed of samples that have to come
//! back from an encoder, 1 to 6 the encoding of a payload, which is one of such samples with bytes changed.

use tsdb::chunk::histogram::{
    CounterResetHint, FloatDecoder, FloatEncoder, FloatHistogram, HistogramSample, IntDecoder,
    IntEncoder, IntHistogram, Span,
};
use tsdb::chunk::{ChunkError, Encoding, float_samples, histogram_samples, xor, xor2};

use crate::Target;
use crate::random::{Random, mutate, splice};

/// See the module.
#[derive(Debug)]
pub struct Chunks;

impl Target for Chunks {
    fn name(&self) -> &'static str {
        "chunks"
    }

    fn input(&self, random: &mut Random) -> Vec<u8> {
        if random.once_in(6) {
            return [vec![0], random.next().to_le_bytes().to_vec()].concat();
        }
        let number = 1 + random.below(6) as u8;
        let Some(encoding) = Encoding::from_disk(number) else { return vec![number] };
        let mut payload = payload(random, encoding);
        match random.below(8) {
            0 => {}
            1 => {
                let other = self::payload(random, encoding);
                payload = splice(random, &payload, &other);
            }
            2 => payload = (0..random.below(200)).map(|_| random.next() as u8).collect(),
            3 => {
                // More samples than there are, which only the bytes' end can stop.
                for byte in payload.iter_mut().take(2) {
                    *byte = random.next() as u8;
                }
            }
            _ => mutate(random, &mut payload),
        }
        payload.insert(0, number);
        payload
    }

    fn check(&self, input: &[u8]) -> Result<(), String> {
        match input.split_first() {
            Some((0, seed)) => {
                let seed = seed.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                round_trip(&mut Random::new(seed, 0))
            }
            Some((number, payload)) => match Encoding::from_disk(*number) {
                Some(encoding) => decode(encoding, payload),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// A sample with all of it as bits, so that NaN equals itself: start, timestamp and the rest.
type Bits = (i64, i64, Vec<u64>);

/// Samples of the kind that an encoding holds.
enum Samples {
    Floats(Vec<(i64, i64, f64)>),
    Ints(Vec<(i64, i64, IntHistogram)>),
    FloatHistograms(Vec<(i64, i64, FloatHistogram)>),
}

impl Samples {
    fn bits(&self, with_starts: bool) -> Vec<Bits> {
        let start = |start: &i64| if with_starts { *start } else { 0 };
        match self {
            Self::Floats(samples) => {
                samples.iter().map(|(s, t, v)| (start(s), *t, vec![v.to_bits()])).collect()
            }
            Self::Ints(samples) => {
                samples.iter().map(|(s, t, h)| (start(s), *t, int_bits(h))).collect()
            }
            Self::FloatHistograms(samples) => {
                samples.iter().map(|(s, t, h)| (start(s), *t, float_bits(h))).collect()
            }
        }
    }
}

fn span_bits(spans: &[Span]) -> impl Iterator<Item = u64> + '_ {
    let bits = |span: &Span| [u64::from(span.offset.cast_unsigned()), u64::from(span.length)];
    std::iter::once(spans.len() as u64).chain(spans.iter().flat_map(bits))
}

/// A marker of staleness is nothing but that.
fn int_bits(histogram: &IntHistogram) -> Vec<u64> {
    if histogram.is_stale() {
        return vec![histogram.sum.to_bits()];
    }
    let bucket = |count: &i64| count.cast_unsigned();
    [
        i64::from(histogram.schema).cast_unsigned(),
        histogram.zero_threshold.to_bits(),
        histogram.zero_count,
        histogram.count,
        histogram.sum.to_bits(),
    ]
    .into_iter()
    .chain(span_bits(&histogram.positive_spans))
    .chain(span_bits(&histogram.negative_spans))
    .chain(histogram.positive_buckets.iter().map(bucket))
    .chain(histogram.negative_buckets.iter().map(bucket))
    // The format knows one zero.
    .chain(histogram.custom_values.iter().map(|value| (value + 0.0).to_bits()))
    .collect()
}

fn float_bits(histogram: &FloatHistogram) -> Vec<u64> {
    if histogram.is_stale() {
        return vec![histogram.sum.to_bits()];
    }
    [
        i64::from(histogram.schema).cast_unsigned(),
        histogram.zero_threshold.to_bits(),
        histogram.zero_count.to_bits(),
        histogram.count.to_bits(),
        histogram.sum.to_bits(),
    ]
    .into_iter()
    .chain(span_bits(&histogram.positive_spans))
    .chain(span_bits(&histogram.negative_spans))
    .chain(histogram.positive_buckets.iter().map(|count| count.to_bits()))
    .chain(histogram.negative_buckets.iter().map(|count| count.to_bits()))
    // The format knows one zero.
    .chain(histogram.custom_values.iter().map(|value| (value + 0.0).to_bits()))
    .collect()
}

fn has_starts(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::Xor2 | Encoding::HistogramSt | Encoding::FloatHistogramSt)
}

/// Timestamps and starts of samples: mostly regular, sometimes anything.
fn times(random: &mut Random) -> Vec<(i64, i64)> {
    let longest = 1 << random.below(9);
    let count = random.below(longest);
    let (wild, step) = (random.once_in(4), 1 + random.below(60_000) as i64);
    let (mut start, mut time) = (0, random.number());
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        if random.once_in(10) {
            start = if wild {
                random.number()
            } else {
                time.wrapping_sub(random.below(100_000) as i64)
            };
        }
        times.push((start, time));
        let change = if wild { random.number() } else { step + random.below(7) as i64 };
        time = time.wrapping_add(change);
    }
    times
}

fn floats(random: &mut Random) -> Samples {
    let kind = random.below(4);
    let mut value = random.float();
    let mut next = |random: &mut Random| {
        value = match kind {
            0 => value,
            1 => value + random.below(100) as f64,
            2 => random.float(),
            _ if random.once_in(9) => model::stale_marker(),
            _ => (random.below(1000) as f64) / 8.0,
        };
        value
    };
    let times = times(random);
    Samples::Floats(times.into_iter().map(|(start, time)| (start, time, next(random))).collect())
}

fn spans(random: &mut Random, first: i32) -> Vec<Span> {
    let one = |at: usize, random: &mut Random| Span {
        offset: random.below(30) as i32 + if at == 0 { first } else { 0 },
        length: random.below(5) as u32,
    };
    (0..random.below(4)).map(|at| one(at, random)).collect()
}

/// Custom bounds: they ascend, and none is NaN, which would differ from itself.
fn bounds(random: &mut Random) -> Vec<f64> {
    let mut bounds: Vec<f64> = (0..random.below(20)).map(|_| random.float()).collect();
    bounds.retain(|bound| !bound.is_nan());
    bounds.sort_by(f64::total_cmp);
    bounds
}

/// Histograms of one layout.
fn histograms(random: &mut Random) -> Vec<(i64, i64, IntHistogram)> {
    let custom = random.once_in(4);
    let (positive_spans, negative_spans) = (spans(random, -20), spans(random, 0));
    let layout = IntHistogram {
        schema: if custom { -53 } else { random.below(13) as i32 - 4 },
        zero_threshold: *random.pick(&[0.0, 1e-128, 0.001, 0.25, 1.0, f64::MAX]),
        custom_values: match custom {
            true => bounds(random),
            false => Vec::new(),
        },
        positive_spans,
        negative_spans,
        ..IntHistogram::default()
    };
    let count = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
    let (positive, negative) = (count(&layout.positive_spans), count(&layout.negative_spans));
    let wild = random.once_in(4);
    let mut made: Vec<(i64, i64, IntHistogram)> = Vec::new();
    for (start, time) in times(random).into_iter().take(60) {
        let bucket = |random: &mut Random| match wild {
            true => random.number(),
            false => random.below(1000) as i64,
        };
        let histogram = IntHistogram {
            zero_count: bucket(random).cast_unsigned(),
            count: bucket(random).cast_unsigned(),
            sum: random.float(),
            positive_buckets: (0..positive).map(|_| bucket(random)).collect(),
            negative_buckets: (0..negative).map(|_| bucket(random)).collect(),
            ..layout.clone()
        };
        let stale = histogram.is_stale();
        // The first sample's layout is that of all; nothing but markers may follow a marker.
        if !stale || !made.is_empty() {
            made.push((start, time, histogram));
        }
        if stale {
            break;
        }
    }
    made
}

fn samples(random: &mut Random, encoding: Encoding) -> Samples {
    match encoding {
        Encoding::Xor | Encoding::Xor2 => floats(random),
        Encoding::Histogram | Encoding::HistogramSt => Samples::Ints(histograms(random)),
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
            let floats = |(start, time, histogram): (i64, i64, IntHistogram)| {
                (start, time, histogram.to_float())
            };
            Samples::FloatHistograms(histograms(random).into_iter().map(floats).collect())
        }
    }
}

/// What an encoder makes of them; an error when it does not take one.
fn encode(encoding: Encoding, samples: &Samples) -> Result<Vec<u8>, String> {
    let with_starts = has_starts(encoding);
    let hint = CounterResetHint::Unknown;
    let refused = || "an encoder did not take a sample".to_owned();
    match samples {
        Samples::Floats(samples) if with_starts => {
            let mut encoder = xor2::Encoder::new();
            let mut all = samples.iter();
            all.all(|(s, t, v)| encoder.append(*s, *t, *v))
                .then(|| encoder.finish())
                .ok_or_else(refused)
        }
        Samples::Floats(samples) => {
            let mut encoder = xor::Encoder::new();
            let mut all = samples.iter();
            all.all(|(_, t, v)| encoder.append(*t, *v))
                .then(|| encoder.finish())
                .ok_or_else(refused)
        }
        Samples::Ints(samples) => {
            let mut encoder = IntEncoder::new(hint, with_starts);
            let mut all = samples.iter();
            let taken = all.try_for_each(|(s, t, h)| encoder.append(*s, *t, h));
            taken.map(|()| encoder.finish()).map_err(|error| error.to_string())
        }
        Samples::FloatHistograms(samples) => {
            let mut encoder = FloatEncoder::new(hint, with_starts);
            let mut all = samples.iter();
            let taken = all.try_for_each(|(s, t, h)| encoder.append(*s, *t, h));
            taken.map(|()| encoder.finish()).map_err(|error| error.to_string())
        }
    }
}

/// Samples of an encoding, encoded.
pub(crate) fn payload(random: &mut Random, encoding: Encoding) -> Vec<u8> {
    let samples = samples(random, encoding);
    encode(encoding, &samples).unwrap_or_default()
}

fn round_trip(random: &mut Random) -> Result<(), String> {
    for number in 1..=6 {
        let Some(encoding) = Encoding::from_disk(number) else { continue };
        let samples = samples(random, encoding);
        let payload = encode(encoding, &samples)?;
        let again = read(encoding, &payload).map_err(|error| format!("{encoding:?}: {error}"))?;
        same(&samples.bits(has_starts(encoding)), &again.bits(true))
            .map_err(|problem| format!("{encoding:?}: {problem}"))?;
    }
    Ok(())
}

/// All samples of a payload.
fn read(encoding: Encoding, payload: &[u8]) -> Result<Samples, ChunkError> {
    Ok(match encoding {
        Encoding::Xor => {
            let samples = xor::Decoder::new(payload)?;
            let plain = |sample: model::Sample| (0, sample.timestamp, sample.value);
            Samples::Floats(samples.map(|sample| sample.map(plain)).collect::<Result<_, _>>()?)
        }
        Encoding::Xor2 => {
            let mut decoder = xor2::Decoder::new(payload)?;
            let mut samples = Vec::new();
            while let Some(sample) = decoder.next_sample()? {
                samples.push((decoder.start(), sample.timestamp, sample.value));
            }
            Samples::Floats(samples)
        }
        Encoding::Histogram | Encoding::HistogramSt => {
            Samples::Ints(parts(IntDecoder::new(encoding, payload)?)?)
        }
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
            Samples::FloatHistograms(parts(FloatDecoder::new(encoding, payload)?)?)
        }
    })
}

fn parts<H>(
    decoder: impl Iterator<Item = Result<HistogramSample<H>, ChunkError>>,
) -> Result<Vec<(i64, i64, H)>, ChunkError> {
    decoder.map(|sample| sample.map(|s| (s.start, s.timestamp, s.histogram))).collect()
}

/// What has to hold of any payload.
fn decode(encoding: Encoding, payload: &[u8]) -> Result<(), String> {
    match encoding.is_histogram() {
        true => decode_histograms(encoding, payload)?,
        false => decode_floats(encoding, payload)?,
    }
    // More than this cannot come from so few bytes but by repeating a layout, which costs memory by design.
    let Ok(samples) = read(encoding, payload) else { return Ok(()) };
    let Ok(encoded) = encode(encoding, &samples) else { return Ok(()) };
    let again = read(encoding, &encoded).map_err(|error| format!("its own encoding: {error}"))?;
    same(&samples.bits(true), &again.bits(true))
        .map_err(|problem| format!("encoded again: {problem}"))
}

/// Where samples that came back differ from what they were.
fn same(before: &[Bits], after: &[Bits]) -> Result<(), String> {
    if before.len() != after.len() {
        return Err(format!("{} samples come back of {}", after.len(), before.len()));
    }
    match before.iter().zip(after).enumerate().find(|(_, (before, after))| before != after) {
        None => Ok(()),
        Some((at, (before, after))) => Err(format!("sample {at} was {before:?} and is {after:?}")),
    }
}

/// One by one is the same as all at once, and nothing follows an error.
fn decode_floats(encoding: Encoding, payload: &[u8]) -> Result<(), String> {
    let (Ok(mut single), Ok(mut whole)) =
        (float_samples(encoding, payload), float_samples(encoding, payload))
    else {
        return Ok(());
    };
    let promised = single.remaining();
    let (mut timestamps, mut values) = (vec![7], vec![7.0]);
    let all = whole.decode_into(&mut timestamps, &mut values);
    let mut one_by_one = Vec::new();
    let error = loop {
        match single.next_sample() {
            Ok(Some(sample)) => one_by_one.push((sample.timestamp, sample.value.to_bits())),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    if error.is_some() && !matches!(single.next_sample(), Ok(None)) {
        return Err("something follows an error".to_owned());
    }
    if all.err() != error {
        return Err("one by one fails in another way than all at once".to_owned());
    }
    if error.is_some() {
        one_by_one.clear();
    } else if one_by_one.len() != promised {
        return Err(format!("{} samples where {promised} were promised", one_by_one.len()));
    }
    let columns = timestamps.iter().copied().zip(values.iter().map(|value| value.to_bits()));
    if timestamps.len() != values.len() || !columns.skip(1).eq(one_by_one) {
        return Err("one by one gives other samples than all at once".to_owned());
    }
    Ok(())
}

/// There are as many as promised or an error, which nothing follows, and buckets are as many as the spans say.
fn decode_histograms(encoding: Encoding, payload: &[u8]) -> Result<(), String> {
    let Ok(mut decoder) = histogram_samples(encoding, payload) else { return Ok(()) };
    for _ in 0..decoder.remaining() {
        match decoder.next_sample() {
            Ok(Some(HistogramSample { histogram, .. })) => {
                let count =
                    |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
                let stale = histogram.is_stale();
                if !stale
                    && (count(&histogram.positive_spans) != histogram.positive_buckets.len()
                        || count(&histogram.negative_spans) != histogram.negative_buckets.len())
                {
                    return Err("other buckets than the spans say".to_owned());
                }
            }
            Ok(None) => return Err("fewer samples than promised".to_owned()),
            Err(_) => break,
        }
    }
    match decoder.next_sample() {
        Ok(None) => Ok(()),
        _ => Err("something follows the last sample or an error".to_owned()),
    }
}
