//! Writing JSON as Prometheus does, without an intermediate tree: results have millions of numbers. [`render`] writes
//! them piece by piece.

use std::io::Write;

use model::Labels;

mod points;
pub(super) mod render;

/// Whole numbers below this are exact, and written without exponent.
const LARGEST_WHOLE: f64 = 1e15;

/// JSON under construction.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
            self.raw(&rest[..at]);
            match rest.as_bytes()[at] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control => self.raw(&format!("\\u{control:04x}")),
            }
            rest = &rest[at + 1..];
        }
        self.raw(rest);
        self.out.push(b'"');
    }

    /// `[…]` with one element per item.
    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut element: impl FnMut(&mut Self, T),
    ) {
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            element(self, item);
        }
        self.out.push(b']');
    }

    /// `["…", …]`
    pub(super) fn strings<S: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = S>) {
        self.array(texts, |json, text| json.string(text.as_ref()));
    }

    /// `{"name":"value", …}`
    pub(super) fn labels(&mut self, labels: &Labels) {
        self.out.push(b'{');
        for (i, (name, value)) in labels.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            self.string(name);
            self.out.push(b':');
            self.string(value);
        }
        self.out.push(b'}');
    }

    /// Milliseconds as seconds: whole, or with exactly three decimals.
    fn timestamp(&mut self, milliseconds: i64) {
        if milliseconds < 0 {
            self.out.push(b'-');
        }
        let magnitude = milliseconds.unsigned_abs();
        self.raw(itoa::Buffer::new().format(magnitude / 1000));
        let fraction = magnitude % 1000;
        if fraction > 0 {
            let digits = [fraction / 100, fraction / 10 % 10, fraction % 10];
            self.out.push(b'.');
            self.out.extend(digits.map(|digit| b'0' + digit as u8));
        }
    }

    /// A number without exponent, as text.
    pub(super) fn float_text(value: f64) -> String {
        let mut json = Self::default();
        json.plain_float(value);
        String::from_utf8(json.out).unwrap_or_default()
    }

    /// Shortest digits without exponent.
    fn plain_float(&mut self, value: f64) {
        match special(value) {
            Some(text) => self.raw(text),
            None => {
                let mut buffer = zmij::Buffer::new();
                let text = buffer.format_finite(value);
                if text.contains('e') {
                    // Writing to memory does not fail.
                    let _infallible = write!(self.out, "{value}");
                } else {
                    self.raw(text.strip_suffix(".0").unwrap_or(text));
                }
            }
        }
    }

    /// Shortest digits; with an exponent of two digits or more below 1e-6 and from 1e21.
    fn float(&mut self, value: f64) {
        let magnitude = value.abs();
        if value.fract() == 0.0 && magnitude < LARGEST_WHOLE && magnitude > 0.0 {
            return self.raw(itoa::Buffer::new().format(value as i64));
        }
        if !value.is_finite() || value == 0.0 || (1e-6..1e21).contains(&magnitude) {
            return self.plain_float(value);
        }
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        let _infallible = write!(self.out, "{digits}e{sign}{exponent:0>2}");
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        String::from_utf8(json.into_bytes()).unwrap()
    }

    #[test]
    fn floats_are_written_as_prometheus_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (123_456_789.123, "123456789.123"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e300, "1.25e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (-1.5e-10, "-1.5e-10"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (60_270.0, "60270"),
            (1e17, "100000000000000000"),
        ];
        for (value, expected) in cases {
            assert_eq!(written(|json| json.float(value)), expected);
        }
        assert_eq!(written(|json| json.plain_float(1e-7)), "0.0000001");
        assert_eq!(written(|json| json.plain_float(1e21)), "1000000000000000000000");
    }

    #[test]
    fn timestamps_have_no_or_three_decimals() {
        let cases = [
            (0, "0"),
            (1_000, "1"),
            (1_500, "1.500"),
            (1_007, "1.007"),
            (-1_500, "-1.500"),
            (-20, "-0.020"),
            (1_700_000_000_123, "1700000000.123"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (milliseconds, expected) in cases {
            assert_eq!(written(|json| json.timestamp(milliseconds)), expected);
        }
    }

    proptest! {
        #[test]
        fn floats_and_strings_read_back(bits in any::<u64>(), text in any::<String>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let read: f64 = written(|json| json.float(value)).parse().unwrap();
                prop_assert_eq!(read.to_bits(), bits);
            }
            let read: String = serde_json::from_str(&written(|json| json.string(&text))).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
