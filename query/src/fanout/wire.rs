//! `SeriesResponse` from its bytes straight to label sets and chunks. The generated type has two strings per label,
//! which would be most of the work of reading a large answer; a chunk's data stays where it was received.

use model::Labels;
use prost::Message;
use prost::bytes::{Buf, Bytes};
use proto::thanos::{AggrChunk, Chunk, SeriesRequest};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// One message of a Series stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Series(Vec<(Labels, Vec<AggrChunk>)>),
    Warning(String),
    /// Hints, or something newer.
    Other,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends within a field")]
    Truncated,
    #[error("a number has more than 64 bits")]
    Number,
    #[error("wire type {0} is unknown")]
    WireType(u64),
    #[error("a text is not UTF-8")]
    Text,
}

/// The gRPC codec of Series calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SeriesCodec;

impl Codec for SeriesCodec {
    type Encode = SeriesRequest;
    type Decode = Frame;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for SeriesCodec {
    type Item = SeriesRequest;
    type Error = Status;

    fn encode(&mut self, item: SeriesRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for SeriesCodec {
    type Item = Frame;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Frame>, Status> {
        let message = buffer.copy_to_bytes(buffer.remaining());
        match frame(&message) {
            Ok(frame) => Ok(Some(frame)),
            Err(error) => {
                Err(Status::internal(format!("a message of the stream is malformed: {error}")))
            }
        }
    }
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Passed over.
    Fixed,
}

/// The fields of a message, in order.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
            self.rest = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::Number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Number and content of the next field.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => {
                self.take(8)?;
                Field::Fixed
            }
            2 => {
                let length = self.number()?;
                Field::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Field::Fixed
            }
            unknown => return Err(Malformed::WireType(unknown)),
        };
        Ok(Some((key >> 3, field)))
    }
}

/// Reads one message.
pub(crate) fn frame(message: &Bytes) -> Result<Frame, Malformed> {
    let mut fields = Fields { rest: message };
    let mut frame = Frame::Other;
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(bytes)) => frame = Frame::Series(vec![series(message, bytes)?]),
            (2, Field::Bytes(bytes)) => frame = Frame::Warning(text(bytes)?.to_owned()),
            (3, Field::Bytes(_)) => frame = Frame::Other,
            (4, Field::Bytes(bytes)) => frame = Frame::Series(batch(message, bytes)?),
            _ => {}
        }
    }
    Ok(frame)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

fn batch(message: &Bytes, bytes: &[u8]) -> Result<Vec<(Labels, Vec<AggrChunk>)>, Malformed> {
    let mut fields = Fields { rest: bytes };
    let mut all = Vec::with_capacity(super::BATCH);
    while let Some(field) = fields.next()? {
        if let (1, Field::Bytes(bytes)) = field {
            all.push(series(message, bytes)?);
        }
    }
    Ok(all)
}

/// `message` is what `bytes` is a part of.
fn series(message: &Bytes, bytes: &[u8]) -> Result<(Labels, Vec<AggrChunk>), Malformed> {
    let mut fields = Fields { rest: bytes };
    let mut pairs = Vec::with_capacity(24);
    let mut chunks = Vec::new();
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(bytes)) => pairs.push(label(bytes)?),
            (2, Field::Bytes(bytes)) => chunks.push(aggregates(message, bytes)?),
            _ => {}
        }
    }
    let sorted = Labels::from_sorted(pairs.iter().copied());
    Ok((sorted.unwrap_or_else(|| Labels::from_pairs(pairs)), chunks))
}

fn label(bytes: &[u8]) -> Result<(&str, &str), Malformed> {
    let mut fields = Fields { rest: bytes };
    let (mut name, mut value) = ("", "");
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (2, Field::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn aggregates(message: &Bytes, bytes: &[u8]) -> Result<AggrChunk, Malformed> {
    let mut fields = Fields { rest: bytes };
    let mut all = AggrChunk::default();
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Number(time)) => all.min_time = time as i64,
            (2, Field::Number(time)) => all.max_time = time as i64,
            (3, Field::Bytes(bytes)) => all.raw = Some(chunk(message, bytes)?),
            (4, Field::Bytes(bytes)) => all.count = Some(chunk(message, bytes)?),
            (5, Field::Bytes(bytes)) => all.sum = Some(chunk(message, bytes)?),
            (6, Field::Bytes(bytes)) => all.min = Some(chunk(message, bytes)?),
            (7, Field::Bytes(bytes)) => all.max = Some(chunk(message, bytes)?),
            (8, Field::Bytes(bytes)) => all.counter = Some(chunk(message, bytes)?),
            _ => {}
        }
    }
    Ok(all)
}

fn chunk(message: &Bytes, bytes: &[u8]) -> Result<Chunk, Malformed> {
    let mut fields = Fields { rest: bytes };
    let mut chunk = Chunk::default();
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Number(kind)) => chunk.r#type = kind as i32,
            (2, Field::Bytes(data)) => chunk.data = message.slice_ref(data),
            (3, Field::Number(hash)) => chunk.hash = hash,
            _ => {}
        }
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proto::thanos::series_response::Result as Wire;
    use proto::thanos::{Label, Series, SeriesBatch, SeriesResponse};

    use super::*;

    fn any_chunk() -> impl Strategy<Value = Option<Chunk>> {
        let chunk = (any::<i32>(), vec(any::<u8>(), 0..20), any::<u64>());
        proptest::option::of(chunk.prop_map(|(kind, data, hash)| Chunk {
            r#type: kind,
            data: data.into(),
            hash,
        }))
    }

    fn any_aggregates() -> impl Strategy<Value = AggrChunk> {
        let chunks = (any_chunk(), any_chunk(), any_chunk(), any_chunk(), any_chunk());
        (any::<i64>(), any::<i64>(), any_chunk(), chunks).prop_map(
            |(min_time, max_time, raw, (count, sum, min, max, counter))| AggrChunk {
                min_time,
                max_time,
                raw,
                count,
                sum,
                min,
                max,
                counter,
            },
        )
    }

    fn any_series() -> impl Strategy<Value = Series> {
        (vec(("[a-c]{1,2}", "[x-zé]{0,2}"), 0..4), vec(any_aggregates(), 0..3)).prop_map(
            |(labels, chunks)| Series {
                labels: labels.into_iter().map(|(name, value)| Label { name, value }).collect(),
                chunks,
            },
        )
    }

    fn expected(series: &Series) -> (Labels, Vec<AggrChunk>) {
        (proto::convert::labels_from_thanos(&series.labels), series.chunks.clone())
    }

    fn read(wire: Wire) -> Result<Frame, Malformed> {
        frame(&SeriesResponse { result: Some(wire) }.encode_to_vec().into())
    }

    proptest! {
        #[test]
        fn messages_mean_what_the_generated_types_say(all in vec(any_series(), 0..4)) {
            let series = all.iter().map(expected).collect();
            let batch = Wire::Batch(SeriesBatch { series: all.clone() });
            prop_assert_eq!(read(batch), Ok(Frame::Series(series)));
            if let Some(first) = all.first() {
                let one = Frame::Series(vec![expected(first)]);
                prop_assert_eq!(read(Wire::Series(first.clone())), Ok(one));
            }
        }

        #[test]
        fn garbage_is_an_error_or_something_but_no_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _either = frame(&bytes.into());
        }

        #[test]
        fn a_message_that_breaks_off_is_an_error(one in any_series(), cut in 1_usize..20) {
            let whole = SeriesResponse { result: Some(Wire::Series(one)) }.encode_to_vec();
            if cut < whole.len() {
                let part = Bytes::copy_from_slice(&whole[..whole.len() - cut]);
                prop_assert_eq!(frame(&part), Err(Malformed::Truncated));
            }
        }
    }

    #[test]
    fn warnings_and_unknown_frames_are_told_apart() {
        assert_eq!(read(Wire::Warning("w".to_owned())), Ok(Frame::Warning("w".to_owned())));
        let hints = prost_types::Any { type_url: "x".to_owned(), value: vec![1] };
        assert_eq!(read(Wire::Hints(hints)), Ok(Frame::Other));
        assert_eq!(frame(&Bytes::new()), Ok(Frame::Other));
        assert_eq!(frame(&Bytes::from_static(&[0x2A, 0])), Ok(Frame::Other), "field 5");
        assert_eq!(frame(&Bytes::from_static(&[0x0B])), Err(Malformed::WireType(3)));
        assert_eq!(frame(&Bytes::from_static(&[0x12, 1, 0xFF])), Err(Malformed::Text));
    }
}
