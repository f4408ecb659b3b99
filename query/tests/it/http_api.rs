//! Shapes and codes of Prometheus' HTTP API.

use expect_test::expect;

use crate::fake::Fake;
use crate::server::Server;

async fn one_series() -> (Server, svc::Context) {
    let samples: Vec<(i64, f64)> = (0..40).map(|i| (i * 15_000, i as f64)).collect();
    let fake = Fake::new(&[("cluster", "a")])
        .series(&[("__name__", "m"), ("pod", "p\"0\"")], &samples)
        .series(&[("__name__", "m"), ("pod", "p1")], &[(290_500, 1e-7), (300_000, f64::NAN)]);
    let (address, store) = fake.serve().await;
    (Server::over(&[address], &[]).await, store)
}

#[tokio::test]
async fn an_instant_query_gives_a_vector() {
    let (server, _store) = one_series().await;
    let reply = server.query("m", "300.5", &[]).await;
    expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","cluster":"a","pod":"p\"0\""},"value":[300.500,"20"]},{"metric":{"__name__":"m","cluster":"a","pod":"p1"},"value":[300.500,"NaN"]}]}}"#]]
        .assert_eq(&reply.body);
    let posted = server.post("/api/v1/query", &[("query", "m"), ("time", "300.5")]).await;
    assert_eq!(posted.body, reply.body);
}

#[tokio::test]
async fn a_range_query_gives_a_matrix_by_get_and_post() {
    let (server, _store) = one_series().await;
    let form = [("query", "m"), ("start", "285"), ("end", "300"), ("step", "7.5")];
    let reply = server.get("/api/v1/query_range", &form).await;
    expect![[r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"m","cluster":"a","pod":"p\"0\""},"values":[[285,"19"],[292.500,"19"],[300,"20"]]},{"metric":{"__name__":"m","cluster":"a","pod":"p1"},"values":[[292.500,"1e-07"],[300,"NaN"]]}]}}"#]]
        .assert_eq(&reply.body);
    assert_eq!(server.post("/api/v1/query_range", &form).await.body, reply.body);
    let mixed = server.post("/api/v1/query_range?query=nonsense(&start=285", &form).await;
    assert_eq!(mixed.body, reply.body, "a form wins over the URL");
}

#[tokio::test]
async fn scalars_and_strings_have_their_own_shape() {
    let (server, _store) = one_series().await;
    let scalar = server.query("1e21 * 1", "1.5", &[]).await;
    expect![[r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"1000000000000000000000"]}}"#]]
        .assert_eq(&scalar.body);
    let string = server.query("\"a\\nb\"", "2", &[]).await;
    expect![[r#"{"status":"success","data":{"resultType":"string","result":[2,"a\nb"]}}"#]]
        .assert_eq(&string.body);
}

#[tokio::test]
async fn a_limit_cuts_a_result_and_says_so() {
    let (server, _store) = one_series().await;
    let reply = server.query("m", "300", &[("limit", "1")]).await;
    assert_eq!(reply.result().as_array().unwrap().len(), 1);
    assert_eq!(reply.warnings(), ["results truncated due to limit"]);
}

#[tokio::test]
async fn bad_promql_is_bad_data() {
    let (server, _store) = one_series().await;
    for reply in [
        server.query("sum(", "1", &[]).await,
        server.post("/api/v1/query", &[("query", "sum("), ("time", "1")]).await,
    ] {
        assert_eq!((reply.status, reply.cache_control.as_deref()), (400, Some("no-store")));
        let json = reply.json();
        assert_eq!((&json["status"], &json["errorType"]), (&"error".into(), &"bad_data".into()));
        let text = json["error"].as_str().unwrap();
        assert!(text.starts_with("invalid parameter \"query\": 1:5: parse error: "), "{text}");
        assert!(json.get("data").is_none());
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let (server, _store) = one_series().await;
    let range = |start, end, step| [("query", "m"), ("start", start), ("end", end), ("step", step)];
    let cases = [
        (
            range("x", "1", "1"),
            r#"invalid parameter "start": cannot parse "x" to a valid timestamp"#,
        ),
        (range("1", "", "1"), r#"invalid parameter "end": cannot parse "" to a valid timestamp"#),
        (
            range("2", "1", "1"),
            r#"invalid parameter "end": end timestamp must not be before start time"#,
        ),
        (range("1", "2", "y"), r#"invalid parameter "step": cannot parse "y" to a valid duration"#),
        (
            range("1", "2", "0"),
            r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            range("0", "11001", "1"),
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
    ];
    for (parameters, expected) in cases {
        let reply = server.get("/api/v1/query_range", &parameters).await;
        assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (400, expected));
    }
    let most = server.get("/api/v1/query_range", &range("0", "11000", "1")).await;
    assert_eq!(most.status, 200);
    for (name, value) in [
        ("dedup", "maybe"),
        ("engine", "mystery"),
        ("partial_response", "2"),
        ("storeMatch[]", "{"),
        ("max_source_resolution", "fine"),
        ("timeout", "-1"),
        ("limit", "-1"),
    ] {
        let reply = server.query("m", "1", &[(name, value)]).await;
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(reply.status, 400, "{name}: {error}");
        assert!(error.starts_with(&format!("invalid parameter \"{name}\": ")), "{error}");
    }
    let everything = server.get("/api/v1/series", &[("match[]", "{a=~\".*\"}")]).await;
    assert_eq!(everything.status, 400);
    let none = server.get("/api/v1/series", &[]).await;
    assert_eq!(none.json()["error"], "no match[] parameter provided");
}

#[tokio::test]
async fn thanos_parameters_are_taken() {
    let (server, _store) = one_series().await;
    let reply = server
        .query(
            "m",
            "300",
            &[
                ("dedup", "true"),
                ("partial_response", "true"),
                ("max_source_resolution", "auto"),
                ("replicaLabels[]", "pod"),
                ("engine", "thanos"),
                ("analyze", "true"),
                ("stats", "all"),
                ("lookback_delta", "20s"),
                ("timeout", "5s"),
            ],
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.result().as_array().unwrap().len(), 1, "pods are replicas: {}", reply.body);
    assert!(reply.json()["data"]["stats"]["samples"]["totalQueryableSamples"].is_number());
}

#[tokio::test]
async fn store_matchers_choose_endpoints() {
    let (a, _a) = Fake::new(&[("s", "a")]).series(&[("__name__", "m")], &[(0, 1.0)]).serve().await;
    let (b, _b) = Fake::new(&[("s", "b")]).series(&[("__name__", "m")], &[(0, 2.0)]).serve().await;
    let server = Server::over(&[a, b], &[]).await;
    let matcher = format!("{{__address__=\"{b}\"}}");
    let reply = server.query("m", "1", &[("storeMatch[]", &matcher)]).await;
    let result = reply.result();
    assert_eq!(result.as_array().unwrap().len(), 1);
    assert_eq!(result[0]["metric"]["s"], "b");
}

#[tokio::test]
async fn endpoints_are_only_asked_for_what_they_may_have() {
    let fakes = ["a", "b"].map(|cluster| Fake::new(&[("cluster", cluster)]));
    let (a, _a) = fakes[0].serve().await;
    let (b, _b) = fakes[1].serve().await;
    let server = Server::over(&[a, b], &[]).await;
    let reply = server.query("m{cluster=\"b\"}", "1", &[]).await;
    assert_eq!((reply.status, reply.warnings().len()), (200, 0));
    assert_eq!(fakes.map(|fake| fake.seen.lock().len()), [0, 1]);
}

#[tokio::test]
async fn targets_of_all_endpoints() {
    let (address, _store) = Fake::new(&[("cluster", "a")]).serve().await;
    let server = Server::over(&[address], &[]).await;
    let reply = server.get("/api/v1/targets", &[("state", "active")]).await;
    expect![[r#"{"status":"success","data":{"activeTargets":[{"discoveredLabels":{"__address__":"a:1"},"labels":{"job":"node"},"scrapePool":"node","scrapeUrl":"http://a:1/metrics","globalUrl":"http://a:1/metrics","lastError":"","lastScrape":"2023-11-14T22:13:20.005Z","health":"up","lastScrapeDuration":0.25}],"droppedTargets":[],"droppedTargetCounts":{}}}"#]]
        .assert_eq(&reply.body);
}

#[tokio::test]
async fn bodies_are_compressed_and_other_origins_allowed() {
    let (server, _store) = one_series().await;
    let url = format!("http://{}/api/v1/query_range?query=m&start=0&end=600&step=1", server.http);
    let plain = server.client.get(&url).header("Origin", "http://grafana").send().await.unwrap();
    assert_eq!(plain.headers()["access-control-allow-origin"], "*");
    let raw = reqwest::Client::builder().no_gzip().build().unwrap();
    let request = raw.get(&url).header("Accept-Encoding", "gzip");
    let packed = request.send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let length = packed.bytes().await.unwrap().len();
    assert!(length < plain.text().await.unwrap().len() / 2);
    let preflight = server.client.request(reqwest::Method::OPTIONS, &url).send().await.unwrap();
    assert_eq!(preflight.status(), 204);
}

#[tokio::test]
async fn the_page_and_unknown_paths() {
    let (server, _store) = one_series().await;
    let page = server.get("/", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("1 of 1 healthy") && page.body.contains("cluster=&quot;a&quot;"));
    let asked = server.get("/", &[("query", "m{pod=\"p1\"} > -1"), ("time", "295")]).await.body;
    for part in
        ["1 result in ", "<b>m</b>{", "<i>pod</i>=&quot;p1&quot;", ">0.0000001", "1 of 1 healthy"]
    {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let wrong = server.get("/", &[("query", "m{")]).await;
    assert!(wrong.status == 200 && wrong.body.contains("parse error"), "{}", wrong.body);
    let unknown = server.get("/api/v1/nothing", &[]).await;
    assert_eq!((unknown.status, &unknown.json()["errorType"]), (404, &"not_found".into()));
    let metrics = server.get("/metrics", &[]).await.body;
    for name in [
        "thanos_query_concurrent_gate_queries_max 20",
        "thanos_store_nodes_grpc_connections{",
        "http_requests_total{handler=\"/\",code=\"200\"} 3",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
}

#[tokio::test]
async fn a_prefix_moves_the_api() {
    let server = Server::start(&["--web.route-prefix=/thanos"]).await;
    let moved = server.get("/thanos/api/v1/query", &[("query", "1"), ("time", "0")]).await;
    assert_eq!(moved.status, 200);
    assert_eq!(server.get("/api/v1/query", &[("query", "1")]).await.status, 404);
    assert_eq!(server.get("/-/healthy", &[]).await.status, 200);
}

#[tokio::test]
async fn queries_are_formatted_and_explained_as_trees() {
    let (server, _store) = one_series().await;
    let query = [("query", "foo/bar>bool 1")];
    let formatted = server.get("/api/v1/format_query", &query).await;
    assert_eq!(formatted.json()["data"], "foo / bar > bool 1");
    assert_eq!(server.post("/api/v1/format_query", &query).await.body, formatted.body);
    let tree = server.post("/api/v1/parse_query", &query).await;
    assert_eq!(tree.json()["data"]["lhs"]["matching"]["card"], "one-to-one");
    assert_eq!(server.get("/api/v1/parse_query", &query).await.body, tree.body);
    for path in ["/api/v1/format_query", "/api/v1/parse_query"] {
        let bad = server.get(path, &[("query", "foo(")]).await;
        let text = bad.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(bad.status, 400);
        assert!(text.starts_with("invalid parameter \"query\": 1:5: parse error: "), "{text}");
    }
}

#[tokio::test]
async fn experimental_parts_are_off_until_their_feature_is_named() {
    let queries =
        ["limitk(1, m)", "m + fill(0) m", "increase(m[5m] anchored)", "mad_over_time(m[5m])"];
    let paths = ["query", "query_explain", "format_query", "parse_query"];
    let (server, _store) = one_series().await;
    for (query, path) in queries.into_iter().flat_map(|query| paths.map(|path| (query, path))) {
        let path = format!("/api/v1/{path}");
        let reply = server.get(&path, &[("query", query), ("time", "300")]).await;
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(reply.status == 400 && error.contains("enabled"), "{path} {query}: {error}");
    }
    let (address, _store) = Fake::new(&[]).series(&[("__name__", "m")], &[(0, 1.0)]).serve().await;
    let names = "promql-experimental-functions,promql-extended-range-selectors";
    let flags = [
        &format!("--enable-feature={names}"),
        "--enable-feature=promql-binop-fill-modifiers,no-such-feature",
        "--enable-feature=promql-delayed-name-removal",
    ];
    let server = Server::over(&[address], &flags).await;
    for (query, path) in queries.into_iter().flat_map(|query| paths.map(|path| (query, path))) {
        let path = format!("/api/v1/{path}");
        let reply = server.get(&path, &[("query", query), ("time", "1")]).await;
        assert_eq!(reply.status, 200, "{path} {query}: {}", reply.body);
    }
    // Whose name is removed only at the end can still be asked for it.
    let copied = "label_replace(abs(m), \"was\", \"$1\", \"__name__\", \"(.*)\")";
    let reply = server.query(copied, "1", &[]).await;
    assert_eq!(reply.result()[0]["metric"], serde_json::json!({ "was": "m" }));
}

#[tokio::test]
async fn a_lookback_of_nothing_is_the_default() {
    let (server, _store) = one_series().await;
    let reply = server.query("m", "300", &[("lookback_delta", "0")]).await;
    assert_eq!(reply.body, server.query("m", "300", &[]).await.body);
    let reply = server.query("m", "400", &[("lookback_delta", "1ms")]).await;
    assert_eq!(reply.result(), serde_json::json!([]));
}

#[tokio::test]
async fn stats_have_the_shape_of_prometheus() {
    let (server, _store) = one_series().await;
    let reply = server.query("m", "300", &[("stats", "all")]).await.json();
    let stats = &reply["data"]["stats"];
    let timings: Vec<&String> = stats["timings"].as_object().unwrap().keys().collect();
    assert_eq!(
        timings,
        [
            "evalTotalTime",
            "execQueueTime",
            "execTotalTime",
            "innerEvalTime",
            "queryPreparationTime",
            "resultSortTime"
        ]
    );
    assert_eq!(stats["samples"]["totalQueryableSamples"], 2);
    assert!(server.query("m", "300", &[]).await.json()["data"].get("stats").is_none());
    let odd = server.query("m", "300", &[("stats", "yes")]).await;
    assert!(odd.json()["data"]["stats"].is_object());
    assert_eq!(
        odd.warnings(),
        [
            "value \"yes\" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""
        ]
    );
}

#[tokio::test]
async fn a_large_answer_comes_in_pieces_and_is_the_same_text() {
    let samples: Vec<(i64, f64)> = (0..600).map(|i| (i * 1_000, i as f64 / 7.0)).collect();
    let fake = (0..40).fold(Fake::new(&[]), |fake, i| {
        fake.series(&[("__name__", "m"), ("i", &i.to_string())], &samples)
    });
    let (address, _store) = fake.serve().await;
    let server = Server::over(&[address], &[]).await;
    let url = format!("http://{}/api/v1/query_range?query=m&start=0&end=599&step=1", server.http);
    let raw = reqwest::Client::builder().no_gzip().build().unwrap();
    let whole = raw.get(&url).send().await.unwrap();
    assert_eq!(whole.content_length(), None, "nobody knows it before the end");
    let text = whole.text().await.unwrap();
    assert!(text.len() > 400_000, "{}", text.len());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let result = json["data"]["result"].as_array().unwrap();
    assert_eq!(result.len(), 40);
    assert!(result.iter().all(|series| series["values"].as_array().unwrap().len() == 600));
    assert_eq!(result[39]["values"][599][1], (599.0 / 7.0).to_string());
    let packed = server.client.get(&url).send().await.unwrap();
    assert_eq!(packed.text().await.unwrap(), text);
    let cut = raw.get(&url).send().await.unwrap();
    drop(cut);
    let small = raw.get(format!("{url}&limit=1")).send().await.unwrap();
    assert!(small.content_length().is_some());
}
