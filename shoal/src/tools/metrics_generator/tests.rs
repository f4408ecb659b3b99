//! What the generator promises: exact counts, growth, agreement with itself.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use scrape::exposition::{self, ParseError, Parser};
use tower::ServiceExt as _;

use super::*;

/// 2026-06-01 in milliseconds.
const NOW: i64 = 1_780_272_000_000;

fn page(series: u64, time: i64, format: Format) -> String {
    churning(series, 0, time, format)
}

fn churning(series: u64, churn: u64, time: i64, format: Format) -> String {
    Page::new(Arc::new(Shape::new(7, "test")), series, churn, time, format).collect()
}

/// The samples of a page by series; fails on what Prometheus would not take and on a series that is there twice.
fn samples(page: &str, format: Format) -> BTreeMap<String, f64> {
    let grammar = match format {
        Format::Text => exposition::Format::Text,
        Format::OpenMetrics => exposition::Format::OpenMetrics,
    };
    let mut found = BTreeMap::new();
    let mut parser = Parser::new(grammar, exposition::DEFAULT_MAX_LINE);
    let mut sink = |sample: &exposition::Sample<'_>| {
        assert!(sample.name().starts_with("metrics_"));
        let repeated = found.insert(sample.series().to_owned(), sample.value());
        assert!(repeated.is_none(), "{} is there twice", sample.series());
        Ok::<_, ParseError>(())
    };
    parser.feed(page.as_bytes(), &mut sink).and_then(|()| parser.finish(&mut sink)).unwrap();
    found
}

fn at(series: u64, time: i64) -> BTreeMap<String, f64> {
    samples(&page(series, time, Format::Text), Format::Text)
}

#[test]
fn there_are_exactly_as_many_series_as_asked_for() {
    for series in [0, 1, 2, 7, 100, 10_045] {
        for format in [Format::Text, Format::OpenMetrics] {
            assert_eq!(samples(&page(series, NOW, format), format).len() as u64, series);
        }
    }
}

#[test]
fn growing_keeps_the_series_that_are_there() {
    let mut before = at(0, NOW);
    for series in (1..700).chain([5_000, 10_045]) {
        let now = at(series, NOW);
        assert!(before.iter().all(|(name, value)| now.get(name) == Some(value)), "{series}");
        before = now;
    }
}

#[test]
fn a_family_stands_together_under_one_head() {
    let page = page(2_000, NOW, Format::Text);
    let heads: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert_eq!(heads.len(), shape::FAMILIES.len());
    assert!(
        page.contains("# TYPE metrics_http_requests_total counter\nmetrics_http_requests_total{")
    );
}

#[test]
fn histograms_are_cumulative_wherever_the_list_is_cut() {
    for series in (20..120).chain([10_045]) {
        let samples = at(series, NOW);
        let mut last: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (name, value) in &samples {
            let Some((name, rest)) = name.split_once("_bucket{") else { continue };
            let (labels, le) = rest.split_once(",le=").unwrap();
            let le = le.trim_matches(['"', '}']).parse::<f64>().unwrap();
            let key = format!("{name} {labels}");
            // Every bucket against +Inf, and in pairs against the last one seen.
            let infinite = samples[&format!("{name}_bucket{{{labels},le=\"+Inf\"}}")];
            assert!(*value <= infinite);
            if let Some(count) = samples.get(&format!("{name}_count{{{labels}}}")) {
                assert_eq!(*count, infinite);
            }
            if let Some((before, lower)) = last.insert(key, (le, *value)) {
                assert_eq!(before < le, lower <= *value, "{name} {labels} {le}");
            }
        }
    }
}

#[test]
fn gauges_move_and_stay_bounded() {
    let gauge = |time| value::gauge(42, 100.0, time);
    let values: Vec<f64> = (0..1000).map(|i| gauge(NOW + i * 15_000)).collect();
    assert!(values.iter().all(|value| (20.0..=240.0).contains(value)));
    assert!(values.windows(2).filter(|pair| pair[0] != pair[1]).count() > 900);
}

#[test]
fn counters_and_histograms_grow_at_rates_of_their_own() {
    let (before, after) = (at(10_045, NOW), at(10_045, NOW + 60_000));
    let mut rates: Vec<u64> = Vec::new();
    for (name, value) in before.iter().filter(|(name, _)| name.contains("requests_total{")) {
        rates.push((after[name] - value) as u64);
    }
    let all = rates.len();
    assert!(rates.iter().filter(|rate| **rate > 0).count() * 10 > all * 9);
    rates.sort_unstable();
    rates.dedup();
    assert!(rates.len() > 100, "{} rates", rates.len());
}

#[test]
fn instances_and_seeds_differ() {
    let page = |seed, name| {
        Page::new(Arc::new(Shape::new(seed, name)), 300, 0, NOW, Format::Text).collect::<String>()
    };
    assert_eq!(page(1, "a"), page(1, "a"));
    assert_ne!(page(1, "a"), page(1, "b"));
    assert_ne!(page(1, "a"), page(2, "a"));
    samples(&page(1, "we\"ird\\ nämé\n"), Format::Text);
}

proptest! {
    #[test]
    fn nothing_that_only_grows_ever_shrinks(seed: u64, start in 0..4_000_000_000_i64, step in 0..100_000_i64) {
        let (before, after) = (NOW + start, NOW + start + step);
        prop_assert!(value::counter(seed, 20.0, before) <= value::counter(seed, 20.0, after));
        prop_assert!(value::seconds(seed, before) <= value::seconds(seed, after));
        let then = value::Histogram::at(seed, 30.0, 0.04, before);
        let now = value::Histogram::at(seed, 30.0, 0.04, after);
        prop_assert!(then.count() <= now.count() && then.sum() <= now.sum());
        let mut lower = 0.0;
        for bound in shape::BOUNDS.into_iter().chain([f64::INFINITY]) {
            prop_assert!(then.bucket(bound) <= now.bucket(bound));
            prop_assert!(lower <= now.bucket(bound));
            lower = now.bucket(bound);
        }
    }
}

#[test]
fn openmetrics_is_served_where_it_is_preferred() {
    for (accept, format) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain;version=0.0.4", Format::Text),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text; q=0.1, text/plain", Format::Text),
        ("application/openmetrics-text;q=0", Format::Text),
    ] {
        assert_eq!(Format::choose(accept), format, "{accept}");
    }
}

/// Sends a request to a generator of 100 series and returns status, content encoding and body.
async fn ask(app: &Router, request: Request<Body>) -> (u16, Option<String>, Vec<u8>) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let encoding =
        response.headers().get("content-encoding").map(|v| v.to_str().unwrap().to_owned());
    let mut body = Vec::new();
    let mut parts = response.into_body().into_data_stream();
    while let Some(part) = futures::StreamExt::next(&mut parts).await {
        body.extend_from_slice(&part.unwrap());
    }
    (status, encoding, body)
}

fn app() -> Router {
    routes(Arc::new(Generator::new(100, 0, 0, "")))
}

async fn post(app: &Router, query: &str) -> (u16, String) {
    let request = Request::post(format!("/-/series{query}")).body(Body::empty()).unwrap();
    let (status, _, body) = ask(app, request).await;
    (status, String::from_utf8(body).unwrap())
}

async fn scrape(app: &Router) -> usize {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let (_, _, body) = ask(app, request).await;
    samples(std::str::from_utf8(&body).unwrap(), Format::Text).len()
}

#[tokio::test]
async fn the_number_of_series_changes_while_it_runs() {
    let app = app();
    assert_eq!(scrape(&app).await, 100);
    assert_eq!(post(&app, "?n=20000").await, (200, "20000\n".to_owned()));
    assert_eq!(scrape(&app).await, 20_000);
    assert_eq!(post(&app, "?n=0").await.0, 200);
    assert_eq!(scrape(&app).await, 0);
    let (_, _, body) = ask(&app, Request::get("/-/series").body(Body::empty()).unwrap()).await;
    assert_eq!(body, b"0\n");
}

#[tokio::test]
async fn a_bad_number_of_series_is_refused_with_its_reason() {
    let app = app();
    for (query, reason) in [
        ("", "parameter n is missing"),
        ("?n=", "n is no whole number"),
        ("?n=-1", "n is no whole number: \"-1\""),
        ("?n=1e6", "n is no whole number"),
        ("?n=5000001", "at most 5000000"),
        ("?n=99999999999999999999", "n is no whole number"),
    ] {
        let (status, body) = post(&app, query).await;
        assert_eq!(status, 400, "{query}");
        assert!(body.contains(reason), "{query}: {body}");
    }
    assert_eq!(scrape(&app).await, 100);
}

#[tokio::test]
async fn a_page_is_zipped_only_where_asked() {
    let app = app();
    let request =
        Request::get("/metrics").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    let (_, encoding, body) = ask(&app, request).await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert_eq!(body[..2], [0x1f, 0x8b]);
    let (_, encoding, _) = ask(&app, Request::get("/metrics").body(Body::empty()).unwrap()).await;
    assert_eq!(encoding, None);
}

#[test]
fn the_clock_never_goes_back() {
    let generator = Generator::new(0, 0, 0, "");
    generator.latest.store(i64::MAX - 1, Ordering::Relaxed);
    assert_eq!(generator.now(), i64::MAX - 1);
}

#[test]
fn series_that_churn_are_others_each_minute_and_among_those_asked_for() {
    for format in [Format::Text, Format::OpenMetrics] {
        for (series, churn) in [(100, 7), (5, 9), (30_000, 4_000), (0, 3)] {
            let all = |time| samples(&churning(series, churn, time, format), format);
            let (now, within, after) = (all(NOW), all(NOW + 59_999), all(NOW + 60_000));
            assert_eq!(now.len() as u64, series);
            assert!(now.keys().eq(within.keys()));
            let new = after.keys().filter(|name| !now.contains_key(*name)).count() as u64;
            assert_eq!((after.len() as u64, new), (series, churn.min(series)));
        }
    }
}
