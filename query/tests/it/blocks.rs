//! The HTTP API over a folder of blocks.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use expect_test::expect;
use model::Labels;
use query::{Features, LocalConfig, serve_blocks};
use tsdb::block::BlockWriter;

type Series<'a> = (&'a [(&'a str, &'a str)], Vec<(i64, f64)>);

/// Series have to be in order of labels.
fn write(folder: &Path, ulid: &str, series: &[Series<'_>]) {
    let symbols: BTreeSet<&str> =
        series.iter().flat_map(|(labels, _)| labels.iter().flat_map(|(n, v)| [*n, *v])).collect();
    let mut writer = BlockWriter::new(&folder.join(ulid), symbols).unwrap();
    for (labels, samples) in series {
        let labels = Labels::from_pairs(labels.iter().copied());
        writer.floats(&labels, samples).unwrap();
    }
    writer.finish().unwrap();
}

struct Served {
    address: SocketAddr,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
    _ctx: svc::Context,
}

impl Served {
    async fn start(folder: tempfile::TempDir) -> Self {
        testkit::init();
        let config = LocalConfig {
            folder: folder.path().to_owned(),
            http_address: SocketAddr::from(([127, 0, 0, 1], 0)),
            timeout: Duration::from_secs(20),
            max_concurrent: 2,
            lookback: Duration::from_secs(300),
            max_samples: 1_000_000,
            features: Features::default(),
        };
        let ctx = svc::Context::new();
        let address = serve_blocks(config, &ctx).await.unwrap();
        let client = svc::http::client(Duration::from_secs(30)).unwrap();
        Self { address, client, _folder: folder, _ctx: ctx }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> String {
        let url = format!("http://{}/api/v1/{path}", self.address);
        self.client.get(url).query(query).send().await.unwrap().text().await.unwrap()
    }
}

fn ramp(from: i64, to: i64) -> Vec<(i64, f64)> {
    (from..to).map(|i| (i * 15_000, i as f64)).collect()
}

/// Two blocks one after another, and what is none.
async fn two_blocks() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = ([("__name__", "m"), ("pod", "a")], [("__name__", "m"), ("pod", "b")]);
    let other = [("__name__", "other"), ("zone", "z")];
    write(folder.path(), "01HF7YAT00TEST000000000002", &[(&a, ramp(480, 960))]);
    write(
        folder.path(),
        "01HF7YAT00TEST000000000001",
        &[(&a, ramp(0, 480)), (&b, ramp(0, 300)), (&other, ramp(0, 10))],
    );
    std::fs::create_dir(folder.path().join("wal")).unwrap();
    std::fs::write(folder.path().join("lock"), "").unwrap();
    Served::start(folder).await
}

#[tokio::test]
async fn blocks_of_a_folder_answer_as_one() {
    let served = two_blocks().await;
    let range = [("query", "sum by (pod) (m)"), ("start", "7170"), ("end", "7215"), ("step", "15")];
    expect![[r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[7170,"478"],[7185,"479"],[7200,"480"],[7215,"481"]]}]}}"#]]
        .assert_eq(&served.get("query_range", &range).await);
    let instant = [("query", "m"), ("time", "4500")];
    expect![[r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","pod":"a"},"value":[4500,"300"]},{"metric":{"__name__":"m","pod":"b"},"value":[4500,"299"]}]}}"#]]
        .assert_eq(&served.get("query", &instant).await);
}

#[tokio::test]
async fn labels_and_series_come_from_the_index() {
    let served = two_blocks().await;
    let names = served.get("labels", &[]).await;
    assert_eq!(names, r#"{"status":"success","data":["__name__","pod","zone"]}"#);
    let names = served.get("labels", &[("match[]", "m")]).await;
    assert_eq!(names, r#"{"status":"success","data":["__name__","pod"]}"#);
    let late = served.get("label/pod/values", &[("start", "7200")]).await;
    assert_eq!(late, r#"{"status":"success","data":["a"]}"#);
    let values = served.get("label/__name__/values", &[("match[]", "{pod=~\".+\"}")]).await;
    assert_eq!(values, r#"{"status":"success","data":["m"]}"#);
    let series = served.get("series", &[("match[]", "m"), ("match[]", "other")]).await;
    expect![[r#"{"status":"success","data":[{"__name__":"m","pod":"a"},{"__name__":"m","pod":"b"},{"__name__":"other","zone":"z"}]}"#]]
        .assert_eq(&series);
    let cut = served.get("series", &[("match[]", "m"), ("limit", "1")]).await;
    expect![[r#"{"status":"success","data":[{"__name__":"m","pod":"a"}],"warnings":["results truncated due to limit"]}"#]]
        .assert_eq(&cut);
}

#[tokio::test]
async fn a_broken_chunk_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let ulid = "01HF7YAT00TEST000000000001";
    write(folder.path(), ulid, &[(&[("__name__", "m")], ramp(0, 10))]);
    let segment = folder.path().join(ulid).join("chunks/000001");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let served = Served::start(folder).await;
    let answer = served.get("query", &[("query", "m"), ("time", "100")]).await;
    assert!(answer.contains(r#""errorType":"internal""#), "{answer}");
    assert!(answer.contains("chunks/000001: checksum of chunk at offset 8"), "{answer}");
}
