//! Shipping: blocks of a real Prometheus, in buckets.

use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::s3::{Fault, FaultRule, S3Server};

use crate::world::{PATIENCE, Sidecar, prometheus_with_data};

pub fn shipping_flags(prometheus: &Prometheus, objstore: &str) -> Vec<String> {
    vec![
        format!("--tsdb.path={}", prometheus.data_dir().display()),
        format!("--objstore.config={objstore}"),
        "--shipper.interval=100ms".to_owned(),
    ]
}

fn block_ids(prometheus: &Prometheus) -> Vec<String> {
    let entries = std::fs::read_dir(prometheus.data_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut ids: Vec<String> = names.filter(|name| block::block_id(name).is_some()).collect();
    ids.sort();
    ids
}

pub fn complete_blocks(objects: &[String]) -> Vec<String> {
    let ids = objects.iter().filter_map(|object| object.strip_suffix("/meta.json"));
    ids.filter(|id| {
        ["index", "chunks/000001"].iter().all(|file| objects.contains(&format!("{id}/{file}")))
    })
    .map(str::to_owned)
    .collect()
}

#[tokio::test]
async fn blocks_of_a_running_prometheus_are_shipped_with_its_external_labels() {
    let (prometheus, _data) = prometheus_with_data().await;
    let server = S3Server::start().await;
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let sidecar = Sidecar::beside(&prometheus, &flags).await;
    let ids = block_ids(&prometheus);
    assert!(!ids.is_empty());
    testkit::eventually(PATIENCE, "all blocks are shipped", async || {
        complete_blocks(&server.objects()) == ids
    })
    .await;
    let text = std::fs::read(server.folder().join(&ids[0]).join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(meta["thanos"]["labels"], serde_json::json!({"cluster": "c", "replica": "0"}));
    let folder = server.folder().to_string_lossy().into_owned();
    let listed = testkit::promtool(["tsdb", "list", &folder]);
    assert!(ids.iter().all(|id| listed.contains(id.as_str())), "{listed}");
    let state = prometheus.data_dir().join("thanos.shipper.json");
    testkit::eventually(PATIENCE, "the state file lists them", async || {
        let state = std::fs::read_to_string(&state)?;
        anyhow::ensure!(ids.iter().all(|id| state.contains(id.as_str())), "{state}");
        anyhow::Ok(())
    })
    .await;
    let page = reqwest::get(format!("http://{}/metrics", sidecar.running.http)).await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains(&format!("thanos_shipper_uploads_total {}", ids.len())), "{page}");
}

#[tokio::test]
async fn a_sidecar_killed_while_it_uploads_is_continued_by_the_next() {
    let (prometheus, _data) = prometheus_with_data().await;
    let server = S3Server::start().await;
    let flags = shipping_flags(&prometheus, &server.objstore_yaml());
    let fault = Fault::Slow(PATIENCE);
    let slow = |after| FaultRule {
        method: "PUT".parse().unwrap(),
        contains: String::new(),
        after,
        count: usize::MAX,
        fault,
    };
    server.inject(slow(1));
    let first = Sidecar::beside(&prometheus, &flags).await;
    testkit::eventually(PATIENCE, "the upload has begun", async || {
        server.requests().iter().filter(|(method, _)| method == "PUT").count() > 1
    })
    .await;
    drop(first);
    assert!(complete_blocks(&server.objects()).is_empty());
    server.heal();
    let _second = Sidecar::beside(&prometheus, &flags).await;
    testkit::eventually(PATIENCE, "all blocks are shipped", async || {
        complete_blocks(&server.objects()) == block_ids(&prometheus)
    })
    .await;
}

#[tokio::test]
async fn a_prometheus_that_compacts_by_itself_ends_the_process_with_a_reason() {
    let labels = vec![("replica".to_owned(), "0".to_owned())];
    let prometheus = Prometheus::start(PrometheusOptions {
        config: PrometheusConfig::ExternalLabels(labels),
        ..PrometheusOptions::default()
    })
    .await;
    let server = S3Server::start().await;
    let mut flags = shipping_flags(&prometheus, &server.objstore_yaml());
    flags.push(format!("--prometheus.url={}", prometheus.url()));
    let sidecar = Sidecar::start(&flags).await;
    sidecar.ctx.shutdown.triggered().await;
    let error = sidecar.ctx.tasks.join(PATIENCE).await.unwrap_err();
    assert!(format!("{error:#}").contains("max-block-duration"), "{error:#}");
    flags.push("--shipper.ignore-unequal-block-size".to_owned());
    let sidecar = Sidecar::start(&flags).await;
    sidecar.wait_ready().await;
}
