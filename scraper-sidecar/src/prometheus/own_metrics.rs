//! The few lines that we need of Prometheus' own `/metrics`: read as a stream, never held whole.

use reqwest::Response;

use super::CallError;

/// A page longer than this is cut.
const MAX_PAGE: usize = 64 << 20;
/// None of ours is nearly this long; the rest of a longer line is skipped.
const MAX_LINE: usize = 4096;

/// Of the process that answers now. A metric that was not on the page is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct OwnMetrics {
    pub(crate) resident_bytes: Option<f64>,
    /// Seconds since the epoch; tells one life of the process from the next.
    pub(crate) start_seconds: Option<f64>,
    /// When a configuration was loaded last, in seconds since the epoch.
    pub(crate) loaded_seconds: Option<f64>,
    /// 1 when the last attempt to load one succeeded.
    pub(crate) loaded_well: Option<f64>,
}

impl OwnMetrics {
    /// Start of the process in milliseconds since the epoch; 0 where that was not told.
    pub(crate) fn start_ms(&self) -> i64 {
        self.start_seconds.map_or(0, |seconds| (seconds * 1000.0) as i64)
    }

    fn take(&mut self, line: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(' '))
        else {
            return;
        };
        let field = match name {
            "process_resident_memory_bytes" => &mut self.resident_bytes,
            "process_start_time_seconds" => &mut self.start_seconds,
            "prometheus_config_last_reload_success_timestamp_seconds" => &mut self.loaded_seconds,
            "prometheus_config_last_reload_successful" => &mut self.loaded_well,
            _ => return,
        };
        *field = value.trim().parse().ok();
    }

    fn is_complete(&self) -> bool {
        let fields =
            [self.resident_bytes, self.start_seconds, self.loaded_seconds, self.loaded_well];
        fields.iter().all(Option::is_some)
    }
}

pub(super) async fn read(mut response: Response) -> Result<OwnMetrics, CallError> {
    let mut scanner = Scanner::default();
    let mut length = 0;
    while let Some(part) = response.chunk().await.map_err(CallError::Send)? {
        scanner.feed(&part);
        length += part.len();
        if scanner.metrics.is_complete() || length > MAX_PAGE {
            return Ok(scanner.metrics);
        }
    }
    scanner.feed(b"\n");
    Ok(scanner.metrics)
}

/// Puts lines together from parts.
#[derive(Default)]
struct Scanner {
    line: Vec<u8>,
    metrics: OwnMetrics,
}

impl Scanner {
    fn feed(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|b| *b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.metrics.take(&self.line);
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP process_start_time_seconds x\n\
        process_start_time_seconds_total 7\nprocess_start_time_seconds 1.79525219218e+09\n\
        a{b=\"process_resident_memory_bytes 3\"} 4\nprocess_resident_memory_bytes 4.4527616e+07\n\
        prometheus_config_last_reload_successful 0";

    #[test]
    fn metrics_are_found_however_the_page_is_cut() {
        for size in 1..PAGE.len() {
            let mut scanner = Scanner::default();
            PAGE.as_bytes().chunks(size).for_each(|part| scanner.feed(part));
            scanner.feed(b"\n");
            let expected = OwnMetrics {
                resident_bytes: Some(44_527_616.0),
                start_seconds: Some(1_795_252_192.18),
                loaded_seconds: None,
                loaded_well: Some(0.0),
            };
            assert_eq!(scanner.metrics, expected, "parts of {size}");
        }
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut scanner = Scanner::default();
        for _ in 0..100 {
            scanner.feed(&[b'x'; 1000]);
        }
        assert!(scanner.line.len() <= MAX_LINE);
    }
}
