//! What bounds a query, and who may stop it.

use testkit::eventually;

use crate::fake::{Fake, Fault};
use crate::server::{PATIENCE, Server};

fn many_series(metric: &str) -> Fake {
    let samples: Vec<(i64, f64)> = (0..240).map(|i| (i * 15_000, (i as f64).sin())).collect();
    (0..200).fold(Fake::new(&[("cluster", "a")]), |fake, i| {
        fake.series(&[("__name__", metric), ("i", &i.to_string())], &samples)
    })
}

fn error(reply: &crate::server::Reply) -> (u16, String, String) {
    let json = reply.json();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    (reply.status, text("errorType"), text("error"))
}

#[tokio::test]
async fn too_many_samples_and_too_many_buffered_bytes_are_execution_errors_that_name_the_limit() {
    let (address, _store) = many_series("m").serve().await;
    let server = Server::over(&[address], &["--query.max-samples=1000"]).await;
    let range = [("query", "m"), ("start", "0"), ("end", "3600"), ("step", "15")];
    assert_eq!(
        error(&server.get("/api/v1/query_range", &range).await),
        (
            422,
            "execution".to_owned(),
            "query processing would load too many samples into memory in query execution"
                .to_owned()
        )
    );
    assert_eq!(server.query("count(m)", "3000", &[]).await.status, 200);

    let server = Server::over(&[address], &["--query.max-buffered-bytes=100"]).await;
    let text = "query holds more than 100 bytes of series that wait to be merged (--query.max-buffered-bytes)";
    for partial in ["true", "false"] {
        let reply = server.query("count(m)", "3000", &[("partial_response", partial)]).await;
        assert_eq!(error(&reply), (422, "execution".to_owned(), text.to_owned()));
    }
    let series = server.get("/api/v1/series", &[("match[]", "m")]).await;
    assert_eq!(error(&series), (422, "execution".to_owned(), text.to_owned()));
}

#[tokio::test]
async fn a_budget_below_the_whole_answer_is_enough_when_nothing_has_to_be_sorted() {
    let (address, _store) = many_series("m").serve().await;
    // A series takes some 2.5 kB, all of them 500 kB.
    let flags = ["--query.max-buffered-bytes=150000"];
    let server = Server::over(&[address], &flags).await;
    let hour = "count(count_over_time(m[1h]))";
    let reply = server.query(hour, "3600", &[]).await;
    assert_eq!((reply.status, reply.result()[0]["value"][1].as_str()), (200, Some("200")));

    let mut unsorted = many_series("m");
    unsorted.removes_replica_labels = false;
    let (address, _store) = unsorted.serve().await;
    let server = Server::over(&[address], &[flags[0], "--query.replica-label=replica"]).await;
    let reply = server.query(hour, "3600", &[]).await;
    assert_eq!(reply.status, 422, "what has to be sorted has to be held: {}", reply.body);
}

#[tokio::test]
async fn the_next_selector_is_asked_for_while_the_first_is_read() {
    let fake = many_series("m").fault(Fault::WaitsForAnother);
    let seen = fake.seen.clone();
    let (address, _store) = fake.serve().await;
    let server = Server::over(&[address], &[]).await;
    let reply = server.query("count(m - (m offset 1m))", "3000", &[]).await;
    assert_eq!((reply.status, reply.result()[0]["value"][1].as_str()), (200, Some("200")));
    assert_eq!(seen.lock().len(), 2);
}

#[tokio::test]
async fn a_selector_that_occurs_again_is_asked_for_once() {
    let fake = many_series("m");
    let seen = fake.seen.clone();
    let (address, _store) = fake.serve().await;
    let server = Server::over(&[address], &["--query.auto-downsampling"]).await;
    for (query, resolution, requests) in [
        ("count((m - m offset 1m) / m)", "0s", 2),
        ("count(rate(m[5m]) / increase(m[5m]))", "0s", 1),
        ("count(rate(m[5m]) / delta(m[5m]))", "0s", 2),
        ("sum(m) / count(m)", "0s", 1),
        ("sum(m) / count(m)", "5m", 2),
    ] {
        seen.lock().clear();
        let reply = server.query(query, "3000", &[("max_source_resolution", resolution)]).await;
        assert_eq!((reply.status, reply.result().as_array().unwrap().len()), (200, 1));
        assert_eq!(seen.lock().len(), requests, "{query} at {resolution}");
    }
}

#[tokio::test]
async fn a_selector_that_is_asked_for_early_takes_no_room_from_the_others() {
    // The one side, which is read first, streams, and is not done before there is a request for the other.
    let (streams, _store) = many_series("m").fault(Fault::WaitsForAnother).serve().await;
    // The other has some 500 kB, which have to be held to be sorted.
    let mut unsorted = many_series("n");
    unsorted.removes_replica_labels = false;
    let (sorted, _other) = unsorted.serve().await;
    let flags = ["--query.replica-label=replica", "--query.max-buffered-bytes=550000"];
    let server = Server::over(&[streams, sorted], &flags).await;
    let sum = "count(count_over_time(n[1h])) + count(count_over_time(m[1h]))";
    let reply = server.query(sum, "3600", &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.result()[0]["value"][1].as_str(), Some("400"));
}

#[tokio::test]
async fn running_and_waiting_queries_are_listed_and_can_be_stopped() {
    let fake = many_series("m").fault(Fault::HangsHalfway);
    let open = fake.open.clone();
    let (address, _store) = fake.serve().await;
    let server = Server::over(&[address], &["--query.max-concurrent=1"]).await;
    let (first, second, steered) = tokio::join!(
        server.query("sum(m)", "3000", &[]),
        async {
            listed(&server, 1).await;
            server
                .get(
                    "/api/v1/query_range",
                    &[("query", "m"), ("start", "0"), ("end", "60"), ("step", "30")],
                )
                .await
        },
        async {
            let queries = listed(&server, 2).await;
            eventually(PATIENCE, "the endpoint is being read", async || {
                open.load(std::sync::atomic::Ordering::SeqCst) == 1
            })
            .await;
            for query in queries.iter().rev() {
                let id = query["id"].as_str().unwrap();
                let url = format!("http://{}/api/v1/queries/{id}", server.http);
                let reply = server.client.delete(url).send().await.unwrap();
                assert_eq!(reply.status(), 200);
            }
            queries
        }
    );
    for reply in [&first, &second] {
        let text = "query was stopped by DELETE /api/v1/queries".to_owned();
        assert_eq!(error(reply), (503, "canceled".to_owned(), text));
    }
    let seen: Vec<_> = steered
        .iter()
        .map(|q| {
            (
                q["query"].as_str().unwrap(),
                q["type"].as_str().unwrap(),
                q["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(seen, [("sum(m)", "instant", "running"), ("m", "range", "queued")]);
    assert_eq!(steered[1]["step"], 30.0);
    listed(&server, 0).await;
    eventually(PATIENCE, "the endpoint is not read any more", async || {
        open.load(std::sync::atomic::Ordering::SeqCst) == 0
    })
    .await;
    let url = format!("http://{}/api/v1/queries/1", server.http);
    assert_eq!(server.client.delete(url).send().await.unwrap().status(), 404);
}

/// Waits until so many queries are listed.
async fn listed(server: &Server, count: usize) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    eventually(PATIENCE, "queries are listed", async || {
        let reply = server.get("/api/v1/queries", &[]).await.json();
        found = reply["data"]["queries"].as_array().unwrap().clone();
        found.len() == count
    })
    .await;
    found
}

#[tokio::test]
async fn a_timeout_and_a_lookback_of_the_request_hold() {
    let (address, _store) = many_series("m").fault(Fault::HangsHalfway).serve().await;
    let server = Server::over(&[address], &[]).await;
    let reply = server.query("sum(m)", "3000", &[("timeout", "300ms")]).await;
    assert_eq!((reply.status, &reply.json()["errorType"]), (503, &"timeout".into()));

    let (address, _store) = many_series("m").serve().await;
    let server = Server::over(&[address], &[]).await;
    let found = async |lookback: &str| {
        let reply = server.query("count(m)", "3600", &[("lookback_delta", lookback)]).await;
        reply.result().as_array().unwrap().len()
    };
    // The newest samples are from 3585 s; the window's older end is open.
    assert_eq!([found("15").await, found("16s").await], [0, 1]);
}

#[tokio::test]
async fn metrics_tell_what_queries_cost() {
    let (address, _store) = many_series("m").serve().await;
    let server = Server::over(&[address], &[]).await;
    server.query("count(m)", "3000", &[]).await;
    let metrics = server.get("/metrics", &[]).await.body;
    for name in [
        "thanos_store_api_query_duration_seconds_count{series_le=\"1000\",samples_le=\"10000\",tenant=\"default-tenant\"} 1",
        "thanos_query_endpoints_dns_lookups_total 0",
        "thanos_query_store_apis_dns_failures_total 0",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}
