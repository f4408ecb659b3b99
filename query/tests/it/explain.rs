//! Plans, analyses and the memory budget over HTTP.

use expect_test::expect;
use serde_json::Value;

use crate::fake::Fake;
use crate::server::Server;

async fn pods() -> (Server, svc::Context) {
    let samples: Vec<(i64, f64)> = (0..40).map(|i| (i * 15_000, i as f64)).collect();
    let fake = (0..30).fold(Fake::new(&[]), |fake, n| {
        fake.series(&[("__name__", "m"), ("pod", &format!("p{n:02}"))], &samples)
    });
    let (address, store) = fake.serve().await;
    let flags = ["--query.max-memory-per-query=20000", "--query.max-memory=50000"];
    (Server::over(&[address], &flags).await, store)
}

#[tokio::test]
async fn a_query_is_explained_under_thanos_paths_without_running_it() {
    let (server, _store) = pods().await;
    let form = [("query", "sum by (pod) (rate(m[5m])) / 2"), ("time", "600")];
    let reply = server.get("/api/v1/query_explain", &form).await;
    expect![[r#"{"status":"success","data":{"children":[{"children":[{"children":[{"children":[{"name":"[select] m, reads 300.001 to 600, hints func=rate by=(pod) range=5m"}],"name":"[window] rate over 5m"}],"name":"[aggregate] sum by (pod)"}],"name":"[binary] each / 2"}],"name":"[query] at 600, lookback 5m"}}"#]]
        .assert_eq(&reply.body);
    assert_eq!(server.post("/api/v1/query_explain", &form).await.body, reply.body);
    let form = [("query", "m @ 1"), ("start", "0"), ("end", "600"), ("step", "1m")];
    let reply = server.post("/api/v1/query_range_explain", &form).await.json();
    let once = &reply["data"]["children"][0];
    assert_eq!(reply["data"]["name"], "[query] from 0 to 600 step 1m, 11 steps, lookback 5m");
    assert_eq!(once["name"], "[once] and the same at every step");
    let bad = server.get("/api/v1/query_explain", &[("query", "sum(")]).await;
    assert_eq!((bad.status, bad.json()["errorType"].as_str()), (400, Some("bad_data")));
    let bad = server.get("/api/v1/query_range_explain", &[("query", "m"), ("start", "0")]).await;
    assert_eq!(bad.status, 400);
}

fn names(node: &Value, out: &mut Vec<String>) {
    out.push(format!(
        "{}: {} to {}, {} samples",
        node["name"].as_str().unwrap(),
        node["seriesIn"],
        node["seriesOut"],
        node["totalSamples"],
    ));
    assert!(node["executionTime"].as_str().unwrap().ends_with('s'));
    for child in node["children"].as_array().into_iter().flatten() {
        names(child, out);
    }
}

#[tokio::test]
async fn analyze_adds_an_analysis_with_the_keys_of_thanos() {
    let (server, _store) = pods().await;
    let parameters = [("analyze", "true"), ("stats", "true")];
    let reply = server.query("sum(m)", "300", &parameters).await.json();
    let analysis = &reply["data"]["analysis"];
    let mut lines = Vec::new();
    names(analysis, &mut lines);
    expect![[r#"
        [query] at 300, lookback 5m: 1 to 1, 600 samples
        [aggregate] sum: 30 to 1, 600 samples
        [select] m, reads 0.001 to 300, hints func=sum: 30 to 30, 600 samples"#]]
    .assert_eq(&lines.join("\n"));
    assert!(analysis["peakSamples"].as_u64().unwrap() > 0);
    let peak = reply["data"]["stats"]["memory"]["peakBytes"].as_u64().unwrap();
    assert_eq!(analysis["peakBytes"].as_u64(), Some(peak));
    assert!((100..20_000).contains(&peak), "{peak}");
    let plain = server.query("sum(m)", "300", &[]).await.json();
    assert!(plain["data"].get("analysis").is_none());
}

#[tokio::test]
async fn stats_all_count_samples_per_step() {
    let (server, _store) = pods().await;
    let form =
        [("query", "sum(m)"), ("start", "0"), ("end", "1"), ("step", "0.5"), ("stats", "all")];
    let stats = server.get("/api/v1/query_range", &form).await.json()["data"]["stats"].clone();
    let per_step = stats["samples"]["totalQueryableSamplesPerStep"].to_string();
    assert_eq!(per_step, "[[0.0,30],[0.5,30],[1.0,30]]");
    assert_eq!(stats["samples"]["totalQueryableSamples"], 90);
    let some = server.query("sum(m)", "0", &[("stats", "true")]).await.json();
    assert!(some["data"]["stats"]["samples"].get("totalQueryableSamplesPerStep").is_none());
}

#[tokio::test]
async fn a_query_without_enough_memory_is_an_execution_error_and_the_next_one_is_fine() {
    let (server, _store) = pods().await;
    let form = [("query", "m"), ("start", "0"), ("end", "600"), ("step", "1")];
    let reply = server.get("/api/v1/query_range", &form).await;
    let json = reply.json();
    assert_eq!((reply.status, json["errorType"].as_str()), (422, Some("execution")));
    let text = json["error"].as_str().unwrap();
    assert!(
        text.starts_with("query processing would use too much memory: ")
            && text.contains(" of \"m\" need ")
            && text.ends_with(" of the 20000 bytes that this query may use are in use (--query.max-memory-per-query)"),
        "{text}"
    );
    // More often than the budget of the process would allow if anything stayed.
    for _ in 0..20 {
        assert_eq!(server.query("m", "300", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn the_page_shows_the_plan_of_what_it_ran() {
    let (server, _store) = pods().await;
    let page = server.get("/", &[("query", "sum(m)"), ("time", "300")]).await;
    assert!(page.body.contains("<summary>Plan</summary>"), "{}", page.body);
    assert!(page.body.contains("[aggregate] sum  (self "), "{}", page.body);
}
