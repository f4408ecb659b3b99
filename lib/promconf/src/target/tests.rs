//! From a discovered address to a target, as Prometheus does it.

use std::path::Path;

use super::*;

fn job(extra: &str) -> ScrapeConfig {
    let text = format!("scrape_configs:\n- job_name: node\n{extra}");
    crate::parse(&text, Path::new("p.yml")).unwrap().scrape_configs.remove(0)
}

fn group(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn active(job: &ScrapeConfig, address: &str, labels: &[(&str, &str)]) -> Target {
    match populate(job, address, &group(labels)).unwrap() {
        Populated::Active(target) => target,
        Populated::Dropped { discovered } => panic!("{discovered} was dropped"),
    }
}

#[test]
fn defaults_come_from_the_job() {
    let job = job("  scrape_interval: 30s\n  params: {module: [a, b], x: []}\n");
    let target = active(&job, "h:1", &[("env", "prod"), ("__meta_filepath", "/f")]);
    assert_eq!(
        target.labels.to_string(),
        r#"{__address__="h:1", __metrics_path__="/metrics", __param_module="a", __scheme__="http", __scrape_interval__="30s", __scrape_timeout__="10s", env="prod", instance="h:1", job="node"}"#
    );
    assert_eq!(target.public_labels().to_string(), r#"{env="prod", instance="h:1", job="node"}"#);
    let discovered = Populator::new(&job).discovered("h:1", &group(&[("__meta_filepath", "/f")]));
    assert_eq!(discovered.get("__meta_filepath"), Some("/f"));
    assert_eq!(discovered.get("__scrape_native_histograms__"), Some("false"));
    assert_eq!(target.url(), "http://h:1/metrics?module=a&module=b");
    assert_eq!(target.scrape_interval(), Duration::from_secs(30));
    assert_eq!(target.scrape_timeout(), Duration::from_secs(10));
}

#[test]
fn labels_of_the_group_win_over_those_of_the_job() {
    let target = active(
        &job(""),
        "h:1",
        &[
            ("job", "other"),
            ("__metrics_path__", "/m"),
            ("__scheme__", "https"),
            ("instance", "i"),
            ("__scrape_timeout__", "3s"),
        ],
    );
    assert_eq!(target.url(), "https://h:1/m");
    assert_eq!(target.public_labels().to_string(), r#"{instance="i", job="other"}"#);
    assert_eq!(target.scrape_timeout(), Duration::from_secs(3));
    assert_eq!(&*target.job, "node");
}

#[test]
fn relabelling_may_change_the_address_and_drop_targets() {
    let job = job(
        "  metrics_path: /probe\n  params: {module: [http]}\n  relabel_configs:\n  - {source_labels: [__address__], target_label: __param_target}\n  - {source_labels: [__param_target], target_label: instance}\n  - {target_label: __address__, replacement: 'blackbox:9115'}\n  - {target_label: __tmp_x, replacement: y}\n  - {source_labels: [skip], regex: 'yes', action: drop}\n",
    );
    let target = active(&job, "example.org", &[("__meta_x", "1")]);
    assert_eq!(target.url(), "http://blackbox:9115/probe?module=http&target=example.org");
    assert_eq!(target.public_labels().to_string(), r#"{instance="example.org", job="node"}"#);
    assert!(
        target
            .labels
            .iter()
            .all(|(name, _)| !name.starts_with("__tmp") && !name.starts_with("__meta"))
    );
    let dropped = populate(&job, "example.org", &group(&[("skip", "yes")])).unwrap();
    assert!(
        matches!(dropped, Populated::Dropped { discovered } if discovered.get("skip") == Some("yes"))
    );
}

#[test]
fn targets_that_prometheus_refuses_are_errors() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 7] = [
        ("", &[], "no address"),
        ("", &[("__address__", "hidden:1")], "no address"),
        ("http://h:1/x", &[], "\"http://h:1/x\" is not a valid hostname"),
        ("h:1", &[("__scrape_interval__", "often")], "scrape interval \"often\" is no duration"),
        ("h:1", &[("__scrape_interval__", "0")], "scrape interval cannot be 0"),
        (
            "h:1",
            &[("__scrape_timeout__", "2m")],
            "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")",
        ),
        (
            "h:1",
            &[("__scrape_native_histograms__", "maybe")],
            "label __scrape_native_histograms__ has to be true or false, not \"maybe\"",
        ),
    ];
    for (address, labels, message) in cases {
        let error = populate(&job(""), address, &group(labels)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_histogram_label_stays_only_where_it_differs_from_the_job() {
    let label = "__scrape_native_histograms__";
    assert_eq!(active(&job(""), "h:1", &[(label, "false")]).labels.get(label), None);
    assert_eq!(active(&job(""), "h:1", &[(label, "true")]).labels.get(label), Some("true"));
}

#[test]
fn a_parameter_that_is_no_plain_label_name_is_left_to_the_job() {
    let job = job("  metrics_path: /federate\n  params: {'match[]': ['{job=\"a b\"}', 'up']}\n");
    let target = active(&job, "h:1", &[]);
    assert_eq!(target.labels.get("__param_match[]"), None);
    let discovered = Populator::new(&job).discovered("h:1", &BTreeMap::new());
    assert_eq!(discovered.get("__param_match[]"), Some("{job=\"a b\"}"));
    assert_eq!(
        target.url(),
        "http://h:1/federate?match%5B%5D=%7Bjob%3D%22a+b%22%7D&match%5B%5D=up"
    );
}

#[test]
fn paths_are_escaped_and_start_with_a_slash() {
    let target = active(&job("  metrics_path: 'a b?c/%41'\n"), "[::1]:80", &[]);
    assert_eq!(target.url(), "http://[::1]:80/a%20b%3Fc/%2541");
}

#[test]
fn identity_depends_on_job_and_url_only() {
    let plain = active(&job(""), "h:1", &[("__meta_uid", "1")]);
    assert_eq!(plain.id, active(&job(""), "h:1", &[("__meta_uid", "2")]).id);
    assert_ne!(plain.id, active(&job(""), "h:2", &[]).id);
    assert_eq!(plain.id, active(&job(""), "h:1", &[("env", "x"), ("instance", "i")]).id);
    assert_eq!(plain.id, active(&job("  scrape_interval: 30s\n"), "h:1", &[]).id);
    assert_ne!(plain.id, active(&job("  metrics_path: /m\n"), "h:1", &[]).id);
    assert_ne!(plain.id, active(&job("  scheme: https\n"), "h:1", &[]).id);
    assert_ne!(plain.id, active(&job("  params: {module: [a]}\n"), "h:1", &[]).id);
    assert_ne!(plain.id, active(&job(""), "h:1", &[("__param_module", "a")]).id);
    assert_ne!(plain.id, active(&job(""), "h:1", &[("__unix_socket__", "/s")]).id);
    // Kept in files of assignments: it may never change.
    assert_eq!(plain.id, 4_170_487_406_969_792_426);
}

#[test]
fn a_group_gives_one_result_an_address() {
    let group = TargetGroup { targets: vec!["a:1".into(), "a/b".into()], ..TargetGroup::default() };
    let results = populate_group(&job(""), &group);
    assert_eq!(results.len(), 2);
    assert!(results[0].is_ok() && results[1].is_err());
}
