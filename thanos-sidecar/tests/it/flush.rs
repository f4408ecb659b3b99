//! Everything into the bucket, from a real Prometheus' head.

use std::time::Duration;

use serde_json::Value;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::s3::{Fault, FaultRule, S3Server};
use testkit::target::Target;

use crate::shipping::{complete_blocks, shipping_flags};
use crate::world::{PATIENCE, Sidecar};

/// Between two scrapes.
const INTERVAL: Duration = Duration::from_secs(1);

fn config(targets: &[&str]) -> String {
    format!(
        "global: {{external_labels: {{replica: \"0\"}}}}\nscrape_configs:\n- job_name: app\n  \
         scrape_interval: 1s\n  static_configs: [{{targets: {targets:?}}}]\n"
    )
}

/// A Prometheus that has scraped a target a few times.
async fn busy_prometheus(app: &Target) -> Prometheus {
    let prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::Text(config(&[app.address()])),
        args: ["min", "max"].map(|end| format!("--storage.tsdb.{end}-block-duration=2h")).into(),
        ..PrometheusOptions::default()
    })
    .await;
    testkit::eventually(PATIENCE, "some scrapes", async || {
        prometheus.query_value("count_over_time(metric[1h])").await >= Some(3.0)
    })
    .await;
    prometheus
}

/// One that does so no more, with its samples.
async fn idle_prometheus(app: &Target) -> (Prometheus, usize) {
    let prometheus = busy_prometheus(app).await;
    std::fs::write(prometheus.config_file(), config(&[])).unwrap();
    prometheus.reload().await;
    let mut last = None;
    testkit::eventually(PATIENCE, "the last scrape is over", async || {
        let head = prometheus.get("/api/v1/status/tsdb", &[]).await["headStats"].clone();
        let same = last.replace(head.clone()) == Some(head);
        // The stale markers come a while after the last scrape.
        same && prometheus.query_value("metric").await.is_none()
    })
    .await;
    let all = prometheus.query("{__name__=~\".+\"}[1h]").await;
    let series = all["result"].as_array().unwrap().iter();
    let samples = series.map(|series| series["values"].as_array().unwrap().len()).sum();
    (prometheus, samples)
}

impl Sidecar {
    async fn shipping(&self) -> Value {
        let url = format!("http://{}/api/v1/shipping", self.running.http);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["status"], "success", "{text}");
        answer["data"].take()
    }

    async fn flush(&self, method: &str) -> u16 {
        let url = format!("http://{}/api/v1/flush", self.running.http);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url);
        request.send().await.unwrap().status().as_u16()
    }

    async fn is_complete(&self) {
        testkit::eventually(PATIENCE, "everything is in the bucket", async || {
            let data = self.shipping().await;
            if data["complete"] == true { Ok(()) } else { Err(data) }
        })
        .await;
    }
}

fn snapshots(prometheus: &Prometheus) -> usize {
    let folder = prometheus.data_dir().join("snapshots");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_head_of_a_prometheus_that_scrapes_nothing_is_flushed_once() {
    let app = Target::start("metric 1\n").await;
    let (prometheus, samples) = idle_prometheus(&app).await;
    let server = S3Server::start().await;
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    let before = sidecar.shipping().await;
    assert_eq!((&before["objectStore"], &before["complete"]), (&true.into(), &false.into()));
    assert_eq!(before["pendingBlocks"], 0, "the head alone is missing: {before}");
    assert_eq!(complete_blocks(&server.objects()), [""; 0]);

    assert_eq!(sidecar.flush("POST").await, 202);
    sidecar.is_complete().await;
    let blocks = complete_blocks(&server.objects());
    assert_eq!(blocks.len(), 1);
    let meta = std::fs::read(server.folder().join(&blocks[0]).join("meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&meta).unwrap();
    assert_eq!(meta["thanos"]["labels"], serde_json::json!({"replica": "0"}));
    assert!(samples > 0 && meta["stats"]["numSamples"].as_u64() >= Some(samples as u64), "{meta}");
    let head = sidecar.shipping().await["headMaxTime"].as_i64().unwrap();
    assert_eq!(meta["maxTime"].as_i64().unwrap(), head + 1, "up to the last sample");
    assert_eq!(snapshots(&prometheus), 0);

    // Again, and in another life: nothing more.
    assert_eq!(sidecar.flush("POST").await, 202);
    sidecar.is_complete().await;
    drop(sidecar);
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    sidecar.is_complete().await;
    assert_eq!(complete_blocks(&server.objects()), blocks);

    // Whoever scrapes again has something that is not in the bucket.
    std::fs::write(prometheus.config_file(), config(&[app.address()])).unwrap();
    prometheus.reload().await;
    testkit::eventually(PATIENCE, "new samples are missing in the bucket", async || {
        sidecar.shipping().await["complete"] == false
    })
    .await;
}

#[tokio::test]
async fn a_flush_that_is_withdrawn_leaves_nothing_and_one_that_fails_is_tried_again() {
    let app = Target::start("metric 1\n").await;
    let (prometheus, _) = idle_prometheus(&app).await;
    let server = S3Server::start().await;
    let rule = |fault| FaultRule {
        method: "PUT".parse().unwrap(),
        contains: "index".to_owned(),
        after: 0,
        count: usize::MAX,
        fault,
    };
    server.inject(rule(Fault::Slow(PATIENCE)));
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    assert_eq!(sidecar.flush("POST").await, 202);
    testkit::eventually(PATIENCE, "the upload has begun", async || {
        server.requests().iter().any(|(method, _)| method == "PUT")
    })
    .await;
    assert_eq!(snapshots(&prometheus), 1);
    assert_eq!(sidecar.shipping().await["flushing"], true);
    assert_eq!(sidecar.flush("DELETE").await, 200);
    testkit::eventually(PATIENCE, "the snapshot is gone", async || snapshots(&prometheus) == 0)
        .await;
    assert_eq!(sidecar.shipping().await["flushing"], false);
    server.heal();
    assert_eq!(complete_blocks(&server.objects()), [""; 0]);

    server.inject(rule(Fault::Status(403)));
    assert_eq!(sidecar.flush("POST").await, 202);
    testkit::eventually(PATIENCE, "the error is shown", async || {
        let error = sidecar.shipping().await["lastError"].as_str().unwrap().to_owned();
        if error.contains("ship block") { Ok(()) } else { Err(error) }
    })
    .await;
    assert_eq!(sidecar.shipping().await["complete"], false);
    server.heal();
    sidecar.is_complete().await;
    assert_eq!(complete_blocks(&server.objects()).len(), 1, "the same snapshot was shipped");
}

#[tokio::test]
async fn a_prometheus_that_was_stopped_is_flushed_after_its_last_stale_marker() {
    let app = Target::start("metric 1\n").await;
    let prometheus = busy_prometheus(&app).await;
    let server = S3Server::start().await;
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    std::fs::write(prometheus.config_file(), config(&[])).unwrap();
    prometheus.reload().await;
    testkit::eventually(PATIENCE, "it has no target any more", async || {
        let targets = prometheus.get("/api/v1/targets", &[("state", "active")]).await;
        targets["activeTargets"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!(sidecar.flush("POST").await, 202);
    testkit::eventually(PATIENCE, "it is watched", async || {
        sidecar.shipping().await["flushing"] == true
    })
    .await;
    // It scrapes nothing any more, and its series have not ended yet.
    assert_eq!(prometheus.query_value("metric").await, Some(1.0));
    prometheus.pause();
    // The length of the fault itself, longer than a flush waits; nothing is waited for.
    tokio::time::sleep(4 * INTERVAL).await;
    assert_eq!(complete_blocks(&server.objects()), [""; 0]);
    prometheus.go_on();
    sidecar.is_complete().await;
    assert_eq!(prometheus.query_value("metric").await, None, "its series have ended");
    assert_eq!(complete_blocks(&server.objects()).len(), 1);
}

#[tokio::test]
async fn a_block_of_what_was_flushed_is_not_shipped() {
    let app = Target::start("metric 1\n").await;
    let (prometheus, _) = idle_prometheus(&app).await;
    let server = S3Server::start().await;
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    assert_eq!(sidecar.flush("POST").await, 202);
    sidecar.is_complete().await;
    let blocks = complete_blocks(&server.objects());

    // As when Prometheus writes its head out by itself: another block, of the same samples.
    let block = block_of_head(&prometheus).await;
    testkit::eventually(PATIENCE, "the block counts as shipped", async || {
        let state = std::fs::read_to_string(prometheus.data_dir().join("thanos.shipper.json"));
        state.unwrap().contains(&block)
    })
    .await;
    sidecar.is_complete().await;
    assert_eq!(complete_blocks(&server.objects()), blocks);
}

#[tokio::test]
async fn a_flush_that_is_withdrawn_once_its_block_is_visible_is_not_made_again() {
    let app = Target::start("metric 1\n").await;
    let (prometheus, _) = idle_prometheus(&app).await;
    let server = S3Server::start().await;
    // The first look is before the upload; the second one, which would settle the flush, gets no answer.
    server.inject(FaultRule {
        method: "HEAD".parse().unwrap(),
        contains: "meta.json".to_owned(),
        after: 1,
        count: 1,
        fault: Fault::Slow(PATIENCE),
    });
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    assert_eq!(sidecar.flush("POST").await, 202);
    testkit::eventually(PATIENCE, "the block is visible", async || {
        complete_blocks(&server.objects()).len() == 1
    })
    .await;
    assert_eq!(sidecar.shipping().await["complete"], false);
    let blocks = complete_blocks(&server.objects());
    assert_eq!(sidecar.flush("DELETE").await, 200);
    sidecar.is_complete().await;
    assert_eq!(snapshots(&prometheus), 0);
    assert_eq!(sidecar.flush("POST").await, 202);
    sidecar.is_complete().await;
    assert_eq!(complete_blocks(&server.objects()), blocks);
}

/// Adds a block that has what the head has; its name.
async fn block_of_head(prometheus: &Prometheus) -> String {
    let url = format!("{}/api/v1/admin/tsdb/snapshot", prometheus.url());
    let answer = reqwest::Client::new().post(url).send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let snapshots = prometheus.data_dir().join("snapshots");
    let snapshot = snapshots.join(answer["data"]["name"].as_str().unwrap());
    let block = std::fs::read_dir(snapshot).unwrap().next().unwrap().unwrap();
    let name = block.file_name().into_string().unwrap();
    std::fs::rename(block.path(), prometheus.data_dir().join(&name)).unwrap();
    name
}

#[tokio::test]
async fn without_an_object_store_nothing_is_complete() {
    let prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::ExternalLabels(vec![("replica".to_owned(), "0".to_owned())]),
        ..PrometheusOptions::default()
    })
    .await;
    let sidecar = Sidecar::beside(&prometheus, &[]).await;
    let data = sidecar.shipping().await;
    assert_eq!((&data["objectStore"], &data["complete"]), (&false.into(), &false.into()));
    assert_eq!(sidecar.flush("POST").await, 409);
}
