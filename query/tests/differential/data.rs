//! The series that both engines answer from: every shape of data that a rule of the language speaks of.
//!
//! Times of samples end in 3 ms, those of queries in 7 ms or 0 ms: no sample lies on the edge of a window, where 3.x
//! counts otherwise than 2.42.

use model::{Labels, stale_marker};

use crate::random::Random;

/// An even two hours, milliseconds.
pub const START: i64 = 1_699_999_200_000;
pub const MINUTE: i64 = 60_000;
/// Where the data ends.
pub const END: i64 = START + 180 * MINUTE;

#[derive(Debug, Clone)]
pub struct Series {
    pub labels: Labels,
    /// Milliseconds and values, ascending.
    pub samples: Vec<(i64, f64)>,
}

/// All series, ordered by labels.
pub fn series() -> Vec<Series> {
    let mut data = Data { random: Random::new(42), series: Vec::new() };
    data.counters();
    data.gauges();
    data.odd_values();
    data.comings_and_goings();
    data.histograms();
    data.broken_histograms();
    data.information();
    data.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    data.series
}

struct Data {
    random: Random,
    series: Vec<Series>,
}

const INSTANCES: [&str; 3] = ["a:9100", "b:9100", "c:9100"];

impl Data {
    fn add(&mut self, name: &str, labels: &[(&str, &str)], samples: Vec<(i64, f64)>) {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        self.series.push(Series { labels: Labels::from_pairs(pairs), samples });
    }

    /// A time every `interval` from `from` on, each a little late.
    fn times(&mut self, from: i64, to: i64, interval: i64) -> Vec<i64> {
        let phase = self.random.below(interval as u64 / 10) as i64 * 10;
        let mut times = Vec::new();
        let mut at = from + phase;
        while at < to {
            times.push(at + self.random.below(20) as i64 * 10 + 3);
            at += interval;
        }
        times
    }

    /// It grows by up to `most` each time, and sometimes starts again, far enough from zero for the extrapolation to
    /// zero to play no part.
    fn counter(&mut self, times: &[i64], most: f64) -> Vec<(i64, f64)> {
        let mut value = 50_000.0 + self.random.unit() * 50_000.0;
        let mut samples = Vec::new();
        for &time in times {
            value += (self.random.unit() * most * 8.0).floor() / 8.0;
            if self.random.chance(1) {
                value = 1_000.0 + self.random.unit() * 5_000.0;
            }
            samples.push((time, value));
        }
        samples
    }

    fn gauge(&mut self, times: &[i64], middle: f64, width: f64) -> Vec<(i64, f64)> {
        let mut value = middle;
        let mut samples = Vec::new();
        for &time in times {
            value += (self.random.unit() - 0.5) * width + (middle - value) / 50.0;
            samples.push((time, value));
        }
        samples
    }

    fn counters(&mut self) {
        let methods: [(&str, &[&str]); 2] = [("api", &["GET", "POST"]), ("web", &[""])];
        for (job, methods) in methods {
            for instance in INSTANCES {
                for code in ["200", "404", "500"] {
                    for method in methods {
                        let times = self.times(START, END, 30_000);
                        let samples = self.counter(&times, 40.0);
                        let labels = [
                            ("job", job),
                            ("instance", instance),
                            ("code", code),
                            ("method", method),
                        ];
                        self.add("http_requests_total", &labels, samples);
                    }
                }
            }
        }
        for instance in INSTANCES {
            for mode in ["idle", "system", "user"] {
                for cpu in ["0", "1"] {
                    let times = self.times(START, END, 15_000);
                    let samples = self.counter(&times, 15.0);
                    let labels = [("instance", instance), ("cpu", cpu), ("mode", mode)];
                    self.add("node_cpu_seconds_total", &labels, samples);
                }
            }
        }
        for (number, instance) in INSTANCES.into_iter().enumerate() {
            // From zero on, at even intervals.
            let first = START + 60 * MINUTE + 7_003 * (number as i64 + 1) / 10 * 10 + 3;
            let grow = |at: i64| (first + at * 30_000, (at * (10 + number as i64)) as f64);
            let samples = (0..150).map(grow).collect();
            self.add("young_total", &[("job", "api"), ("instance", instance)], samples);
        }
    }

    fn gauges(&mut self) {
        for site in ["north", "south", ""] {
            for sensor in ["1", "2", "3"] {
                let times = self.times(START, END, 30_000);
                let samples = self.gauge(&times, if site == "south" { -3.0 } else { 18.0 }, 6.0);
                self.add("temperature", &[("site", site), ("sensor", sensor)], samples);
            }
        }
        for instance in INSTANCES {
            let times = self.times(START, END, 30_000);
            let samples = self.gauge(&times, 4e9, 3e8);
            self.add("memory_bytes", &[("job", "api"), ("instance", instance)], samples);
            let times = self.times(START, END, 30_000);
            let samples = self.gauge(&times, 0.5, 0.4);
            self.add("load", &[("instance", instance)], samples);
        }
        for (name, most) in [("small", 4), ("wide", 20)] {
            for state in ["red", "green", "blue"] {
                let times = self.times(START, END, 30_000);
                let samples = times
                    .iter()
                    .map(|&time| (time, self.random.below(most) as f64 - 1.0))
                    .collect();
                self.add("level", &[("name", name), ("state", state)], samples);
            }
        }
    }

    fn odd_values(&mut self) {
        let nan = f64::NAN;
        let inf = f64::INFINITY;
        let kinds: [(&str, &[f64]); 9] = [
            ("nan", &[nan]),
            ("inf", &[inf]),
            ("minus_inf", &[-inf]),
            ("zeros", &[0.0, -0.0, 0.0]),
            ("mixed", &[1.5, nan, -2.0, inf, 3.0, -inf, 0.0, -0.0, 7.25, 2.0, -1.0]),
            ("infs", &[inf, 1.0, inf, 2.0]),
            ("tiny", &[5e-324, 1e-310, 3e-308, -1e-300]),
            ("huge", &[1e300, 2.5e300, -3e299]),
            ("mostly", &[1.0, 2.0, nan, 4.0, 5.5, 6.0, 3.0]),
        ];
        for (kind, values) in kinds {
            let times = self.times(START, END, 60_000);
            let samples =
                times.iter().enumerate().map(|(at, &time)| (time, values[at % values.len()]));
            let samples = samples.collect();
            self.add("odd", &[("kind", kind)], samples);
        }
        for (n, value) in [("1", 42.0), ("2", 0.0), ("3", -0.1)] {
            let times = self.times(START, END, 60_000);
            let samples = times.into_iter().map(|time| (time, value)).collect();
            self.add("constant", &[("n", n)], samples);
        }
    }

    /// Gaps with and without stale markers, uneven intervals, few samples.
    fn comings_and_goings(&mut self) {
        for instance in INSTANCES {
            for (name, marked) in [("flaky", true), ("gappy", false)] {
                let times = self.times(START, END, 30_000);
                let mut samples = self.gauge(&times, 100.0, 40.0);
                let mut at = 0;
                let mut gone = false;
                while at < samples.len() {
                    let length = 5 + self.random.below(25) as usize;
                    for (nth, sample) in samples.iter_mut().skip(at).take(length).enumerate() {
                        if gone {
                            sample.1 = if nth == 0 && marked { stale_marker() } else { f64::NAN };
                        }
                    }
                    at += length;
                    gone = !gone;
                }
                samples.retain(|(_, value)| !value.is_nan() || model::is_stale_marker(*value));
                self.add(name, &[("job", "api"), ("instance", instance)], samples);
            }
        }
        for n in ["1", "2", "3"] {
            let times = self.times(START, END, 240_000);
            let samples = self.counter(&times, 300.0);
            self.add("sparse_total", &[("n", n)], samples);
            let mut times = Vec::new();
            let mut at = START;
            while at < END {
                times.push(at + 3);
                at += (self.random.below(850) as i64 + 50) * 100;
            }
            let samples = self.gauge(&times, 10.0, 5.0);
            self.add("uneven", &[("n", n)], samples);
        }
        self.add("once", &[("n", "1")], vec![(START + 90 * MINUTE + 3, 5.0)]);
        self.add(
            "twice",
            &[("n", "1")],
            vec![(START + 90 * MINUTE + 3, 5.0), (START + 91 * MINUTE + 13, 6.0)],
        );
    }

    fn histograms(&mut self) {
        let api: &[&str] = &["0.1", "0.5", "1", "2.5", "+Inf"];
        let web: &[&str] = &["0.05", "0.25", "1", "5", "10", "+Inf"];
        for (job, bounds) in [("api", api), ("web", web)] {
            for instance in INSTANCES {
                let times = self.times(START, END, 30_000);
                let mut counts = vec![5_000.0; bounds.len()];
                let mut buckets = vec![Vec::new(); bounds.len()];
                let (mut total, mut sum) = (Vec::new(), Vec::new());
                let mut seconds = 100_000.0;
                for time in times {
                    let mut all = 0.0;
                    for (bucket, count) in counts.iter_mut().enumerate() {
                        let seen = self.random.below(9) as f64;
                        *count += seen;
                        seconds += seen * (bucket as f64 + 0.25);
                        all += *count;
                        buckets[bucket].push((time, all));
                    }
                    total.push((time, all));
                    sum.push((time, seconds));
                }
                let labels = [("job", job), ("instance", instance)];
                self.add("request_seconds_count", &labels, total);
                self.add("request_seconds_sum", &labels, sum);
                for (bound, samples) in bounds.iter().zip(buckets) {
                    let labels = [("job", job), ("instance", instance), ("le", bound)];
                    self.add("request_seconds_bucket", &labels, samples);
                }
            }
        }
    }

    fn broken_histograms(&mut self) {
        let nan = f64::NAN;
        let kinds: [(&str, &[(&str, f64)]); 12] = [
            ("no_inf", &[("1", 2.0), ("2", 5.0)]),
            ("no_number", &[("one", 2.0), ("2", 5.0), ("+Inf", 7.0)]),
            ("no_le", &[("", 2.0), ("2", 5.0), ("+Inf", 7.0)]),
            ("only_inf", &[("+Inf", 7.0)]),
            ("falls", &[("1", 6.0), ("2", 5.0), ("4", 9.0), ("+Inf", 8.0)]),
            ("same_twice", &[("1", 2.0), ("1.0", 3.0), ("2", 7.0), ("+Inf", 11.0)]),
            ("negative", &[("-2", 1.0), ("-1", 3.0), ("0", 4.0), ("1", 8.0), ("+Inf", 9.0)]),
            ("below_zero", &[("-2", 5.0), ("-1", 6.0), ("+Inf", 6.0)]),
            ("empty", &[("1", 0.0), ("2", 0.0), ("+Inf", 0.0)]),
            ("flat", &[("1", 5.0), ("2", 5.0), ("3", 5.0), ("+Inf", 5.0)]),
            ("nan", &[("1", 1.0), ("2", nan), ("+Inf", 4.0)]),
            ("exponents", &[("1e-3", 1.0), ("1e3", 4.0), ("inf", 6.0)]),
        ];
        for (kind, buckets) in kinds {
            let times = self.times(START, END, 60_000);
            for (le, count) in buckets {
                let grown = |(at, &time): (usize, &i64)| (time, count * (100.0 + at as f64));
                let samples = times.iter().enumerate().map(grown).collect();
                self.add("broken_bucket", &[("kind", kind), ("le", le)], samples);
            }
        }
    }

    /// Series that are joined with others for their labels, and texts that are hard to write.
    fn information(&mut self) {
        for (number, instance) in INSTANCES.into_iter().enumerate() {
            for job in ["api", "web"] {
                let times = self.times(START, END, 60_000);
                let ones = times.iter().map(|&time| (time, 1.0)).collect();
                let version = if number == 0 { "1.0" } else { "1.1" };
                let labels = [
                    ("job", job),
                    ("instance", instance),
                    ("version", version),
                    ("branch", if number == 2 { "" } else { "main" }),
                ];
                self.add("build_info", &labels, ones);
                let up =
                    times.iter().map(|&time| (time, f64::from(!self.random.chance(20)))).collect();
                self.add("up", &[("job", job), ("instance", instance)], up);
            }
        }
        let texts =
            ["plain", "ünïcode ☃", "line\nbreak", "say \"hi\"", "back\\slash", "a.b", "axb"];
        for (number, text) in texts.into_iter().enumerate() {
            let times = self.times(START, END, 60_000);
            let samples = times.into_iter().map(|time| (time, number as f64 + 0.5)).collect();
            self.add("text", &[("value", text), ("n", &number.to_string())], samples);
        }
    }
}
