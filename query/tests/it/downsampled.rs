//! Downsampled chunks over StoreAPI, and what endpoints are asked for.

use model::Labels;
use proto::thanos;
use proto::thanos::Aggr;

use crate::fake::Fake;
use crate::server::Server;

const WINDOW: i64 = 300_000;

fn chunk(samples: &[(i64, f64)]) -> Option<thanos::Chunk> {
    let mut encoder = tsdb::chunk::xor::Encoder::new();
    for (time, value) in samples {
        encoder.append(*time, *value);
    }
    Some(thanos::Chunk { r#type: 0, data: encoder.finish().into(), hash: 0 })
}

/// An hour of ten samples each five minutes: of a counter that rises by one each sample and starts over at the half
/// hour, where a second chunk begins.
fn hour(first_window: i64) -> thanos::AggrChunk {
    let ends: Vec<i64> = (first_window..first_window + 6).map(|i| (i + 1) * WINDOW).collect();
    let each = |value: fn(f64) -> f64| {
        let values = ends.iter().enumerate().map(|(i, end)| (*end, value(i as f64)));
        chunk(&values.collect::<Vec<_>>())
    };
    let (from, to) = (first_window * WINDOW + 30_000, ends[5]);
    let mut counter = vec![(from, 1.0)];
    counter.extend(ends.iter().enumerate().map(|(i, end)| (*end, 10.0 * (i as f64 + 1.0))));
    counter.push((to, 60.0));
    thanos::AggrChunk {
        min_time: from,
        max_time: to,
        raw: None,
        count: each(|_| 10.0),
        sum: each(|i| 100.0 * i + 55.0),
        min: each(|i| 10.0 * i + 1.0),
        max: each(|i| 10.0 * i + 10.0),
        counter: chunk(&counter),
    }
}

fn fake() -> Fake {
    let mut fake = Fake::new(&[]);
    for first_window in [0, 6] {
        let labels = Labels::from_pairs([("__name__", "m_total")]);
        fake.encoded.push((labels, hour(first_window)));
    }
    fake
}

#[tokio::test]
async fn each_function_gets_the_column_that_it_is_after() {
    let fake = fake();
    let seen = fake.seen.clone();
    let (address, _ctx) = fake.serve().await;
    let server = Server::over(&[address], &[]).await;
    let cases: [(&str, &str, &[Aggr]); 9] = [
        ("min_over_time(m_total[1h])", "1", &[Aggr::Min]),
        ("max_over_time(m_total[1h])", "60", &[Aggr::Max]),
        ("sum_over_time(m_total[1h])", "3660", &[Aggr::Sum]),
        ("count_over_time(m_total[1h])", "120", &[Aggr::Count]),
        ("avg_over_time(m_total[1h])", "30.5", &[Aggr::Count, Aggr::Sum]),
        ("m_total", "55.5", &[Aggr::Count, Aggr::Sum]),
        ("max(m_total)", "60", &[Aggr::Max]),
        // From 1 to 60, and from 0 to 60 again; from 30 s after the window's start on.
        ("round(increase(m_total[1h]))", "120", &[Aggr::Counter]),
        ("idelta(m_total[15m])", "10", &[Aggr::Count, Aggr::Sum]),
    ];
    for (query, expected, columns) in cases {
        let reply = server.query(query, "3600", &[("max_source_resolution", "5m")]).await;
        assert!(reply.warnings().is_empty(), "{query}: {}", reply.body);
        assert_eq!(reply.result()[0]["value"][1], expected, "{query}");
        let request = seen.lock().pop().unwrap();
        assert_eq!(request.max_resolution_window, WINDOW, "{query}");
        let wanted: Vec<i32> = columns.iter().map(|column| (*column).into()).collect();
        assert_eq!(request.aggregates, wanted, "{query}");
    }
}

#[tokio::test]
async fn the_resolution_is_what_the_request_says_or_a_fifth_of_the_step() {
    let fake = fake();
    let seen = fake.seen.clone();
    let (address, _ctx) = fake.serve().await;
    let asked = async |flags: &[&str], step: &str, more: Option<&str>| {
        let server = Server::over(&[address], flags).await;
        let mut range =
            vec![("query", "m_total"), ("start", "0"), ("end", "36000"), ("step", step)];
        range.extend(more.map(|resolution| ("max_source_resolution", resolution)));
        let reply = server.get("/api/v1/query_range", &range).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let request = seen.lock().pop().unwrap();
        (request.max_resolution_window, -request.min_time)
    };
    let raw = thanos::SeriesRequest::default().max_resolution_window;
    let five_minutes = WINDOW - 1;
    assert_eq!(asked(&[], "1h", None).await, (raw, five_minutes));
    assert_eq!(asked(&[], "1h", Some("0s")).await, (raw, five_minutes));
    assert_eq!(asked(&[], "1500", Some("auto")).await, (WINDOW, five_minutes));
    let auto = ["--query.auto-downsampling"];
    // Samples may be an hour apart.
    assert_eq!(asked(&auto, "1h", None).await, (720_000, 3_599_999));
    assert_eq!(asked(&auto, "1h", Some("3600")).await, (3_600_000, 3_599_999));
    let fixed = ["--no-query.dynamic-lookback-delta"];
    assert_eq!(asked(&fixed, "1h", Some("1h")).await, (3_600_000, five_minutes));

    let server = Server::over(&[address], &[]).await;
    for wrong in ["-5m", "x"] {
        let reply = server.query("m_total", "60", &[("max_source_resolution", wrong)]).await;
        assert_eq!(reply.status, 400, "{}", reply.body);
    }
}

#[tokio::test]
async fn replicas_of_downsampled_series_become_one() {
    let replica = |name: &str| {
        let mut fake = fake();
        for (labels, _) in &mut fake.encoded {
            let mut builder = labels.to_builder();
            *labels = builder.set("replica", name).build();
        }
        fake.removes_replica_labels = false;
        fake
    };
    let (a, _a) = replica("a").serve().await;
    let (b, _b) = replica("b").serve().await;
    let server = Server::over(&[a, b], &["--query.replica-label=replica"]).await;
    for (query, expected) in
        [("count_over_time(m_total[1h])", "120"), ("avg_over_time(m_total[1h])", "30.5")]
    {
        let reply = server.query(query, "3600", &[("max_source_resolution", "5m")]).await;
        assert_eq!(reply.result()[0]["value"][1], expected, "{query}: {}", reply.body);
    }
}
