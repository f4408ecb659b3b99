//! The same servers asked by us and by a real Prometheus: both find the same targets with the same labels.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use discovery::{JobGroups, JobState};
use serde_json::Value;
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::target::Target;

use crate::servers::Script;
use crate::support::Running;

const PATIENCE: Duration = Duration::from_secs(10);

/// Labels that Prometheus 3.x has and Debian's 2.42 has not.
const LATER: [&str; 2] = ["__meta_docker_container_image", "__meta_docker_container_image_id"];

/// An address, and the labels that discovery gave to it.
type Discovered = (String, Vec<(String, String)>);

const NETWORKS: &str = r#"[{"Id": "net1", "Name": "front", "Scope": "local", "Internal": true, "Ingress": false,
    "Labels": {"x.y": "z"}}]"#;

/// One network a container: of several a Prometheus takes all or the first one, depending on its version.
const CONTAINERS: &str = r#"[
  {"Id": "c1", "Names": ["/web", "/alias"], "Image": "web:1", "ImageID": "sha", "Labels": {"a.b": "c"},
   "HostConfig": {"NetworkMode": "front"},
   "Ports": [{"IP": "0.0.0.0", "PrivatePort": 8080, "PublicPort": 80, "Type": "tcp"},
             {"PrivatePort": 9090, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
   "NetworkSettings": {"Networks": {"front": {"NetworkID": "net1", "IPAddress": "10.0.0.1"}}}},
  {"Id": "c2", "Names": ["/quiet"], "HostConfig": {"NetworkMode": "front"}, "Ports": [], "Labels": {},
   "NetworkSettings": {"Networks": {"front": {"NetworkID": "net1", "IPAddress": "10.0.0.2"}}}}]"#;

const SERVICES: &str = r#"[{"ID": "s1", "Spec": {"Name": "web", "Labels": {"l.m": "v"}, "Mode": {"Replicated": {}},
    "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Hostname": "h"}}}, "UpdateStatus": {"State": "updating"},
    "Endpoint": {"Ports": [{"Name": "http", "Protocol": "tcp", "PublishedPort": 80, "PublishMode": "ingress"},
                           {"Name": "dns", "Protocol": "udp", "PublishedPort": 53, "PublishMode": "ingress"}],
                 "VirtualIPs": [{"NetworkID": "net1", "Addr": "10.0.0.5/24"}]}},
    {"ID": "s2", "Spec": {"Name": "agent", "Mode": {"Global": {}}, "TaskTemplate": {"ContainerSpec": {"Image": "a:2"}}},
    "Endpoint": {"VirtualIPs": [{"NetworkID": "net1", "Addr": "10.0.0.6/24"}]}}]"#;

const NODES: &str = r#"[{"ID": "w1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"zone": "a"}},
    "Description": {"Hostname": "h1", "Platform": {"Architecture": "x86_64", "OS": "linux"},
                    "Engine": {"EngineVersion": "27", "Labels": {"e": "f"}}},
    "Status": {"State": "ready", "Addr": "192.0.2.1"},
    "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "192.0.2.1:2377"}},
    {"ID": "w2", "Spec": {"Role": "worker", "Availability": "drain"},
    "Description": {"Hostname": "h2", "Platform": {"Architecture": "arm64", "OS": "linux"},
                    "Engine": {"EngineVersion": "26"}}, "Status": {"State": "down", "Addr": "192.0.2.2"}}]"#;

const TASKS: &str = r#"[{"ID": "t1", "ServiceID": "s1", "NodeID": "w1", "Slot": 2, "DesiredState": "running",
    "Spec": {"ContainerSpec": {"Labels": {"k": "v"}}},
    "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c9"},
               "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 81, "PublishMode": "host"}]}},
    "NetworksAttachments": [{"Network": {"ID": "net1"}, "Addresses": ["10.0.0.7/24"]}]}]"#;

const EUREKA: &str = "<applications><versions__delta>1</versions__delta><application><name>SHOP</name>\
    <instance><instanceId>i1</instanceId><hostName>h1</hostName><app>SHOP</app><ipAddr>10.0.0.1</ipAddr>\
    <vipAddress>shop</vipAddress><secureVipAddress>shops</secureVipAddress><status>UP</status>\
    <port enabled=\"true\">8080</port><securePort enabled=\"false\">443</securePort>\
    <homePageUrl>http://h1/</homePageUrl><statusPageUrl>http://h1/info</statusPageUrl>\
    <healthCheckUrl>http://h1/health</healthCheckUrl><countryId>1</countryId>\
    <dataCenterInfo><name>Amazon</name><metadata><ami-id>x</ami-id></metadata></dataCenterInfo>\
    <metadata><a.b>c</a.b><two>2</two></metadata></instance>\
    <instance><hostName>h2</hostName><status>DOWN</status></instance></application></applications>";

fn script(answers: &[(&str, &str)]) -> Script {
    let script = Script::default();
    answers.iter().for_each(|(path, body)| script.set(path, *body));
    script
}

/// A job of each kind that Debian's Prometheus has (it is built without consul and nomad) and that can be told where its
/// server is, under the kind's name; and the server of one of them.
async fn every_kind(folder: &Path) -> (String, Target) {
    let docker = script(&[
        ("/networks", NETWORKS),
        ("/containers/json", CONTAINERS),
        ("/services", SERVICES),
        ("/nodes", NODES),
        ("/tasks", TASKS),
    ]);
    let eureka = script(&[("/eureka/apps", EUREKA)]);
    let list = r#"[{"targets": ["10.0.0.1:1", "h:2"], "labels": {"__meta_x": "1", "env": "p"}}, {"targets": ["h:3"]}]"#;
    std::fs::write(folder.join("targets.json"), list).unwrap();
    let http = Target::start(list).await;
    http.set_content_type("application/json");
    let sections = [
        ("docker", format!("host: 'tcp://{}'", docker.serve().await)),
        ("eureka", format!("server: 'http://{}/eureka'", eureka.serve().await)),
        ("http", format!("url: 'http://{}/list'", http.address())),
        ("file", format!("files: ['{}']", folder.join("targets.json").display())),
    ];
    let mut jobs: String = sections
        .iter()
        .map(|(kind, section)| {
            format!("- job_name: {kind}\n  {kind}_sd_configs: [{{{section}}}]\n")
        })
        .collect();
    let swarm = docker.serve().await;
    for role in ["nodes", "services", "tasks"] {
        jobs.push_str(&format!(
            "- job_name: {role}\n  dockerswarm_sd_configs: [{{host: 'tcp://{swarm}', role: {role}}}]\n"
        ));
    }
    (jobs, http)
}

#[tokio::test]
async fn every_kind_finds_what_a_real_prometheus_finds() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, _http) = every_kind(folder.path()).await;
    let mut running = Running::start(&jobs, folder.path());
    let ours = running
        .until(|published| published.iter().all(|job| job.state == JobState::Complete))
        .await;
    let config = PrometheusConfig::Text(format!("scrape_configs:\n{jobs}"));
    let prometheus = Prometheus::start(PrometheusOptions { config, ..Default::default() }).await;
    let mut kinds = 0;
    for job in ours.iter() {
        let ours = of_us(job);
        assert!(!ours.is_empty(), "{} has found nothing", job.job);
        eventually(PATIENCE, &format!("Prometheus finds the same with {}", job.job), async || {
            let theirs = of_prometheus(&prometheus, &job.job).await;
            let only = |ones: &BTreeSet<_>, others| {
                ones.difference(others).map(|found| format!("{found:?}")).collect::<Vec<_>>()
            };
            let (only_theirs, only_ours) = (only(&theirs, &ours), only(&ours, &theirs));
            if theirs == ours {
                Ok(())
            } else {
                Err(format!("{only_theirs:?}, ours {only_ours:?}"))
            }
        })
        .await;
        kinds += 1;
    }
    assert_eq!(kinds, 7);
    running.stop().await;
}

fn of_us(job: &JobGroups) -> BTreeSet<Discovered> {
    let of_group = |group: &std::sync::Arc<promconf::TargetGroup>| {
        let known = group.labels.iter().filter(|(name, _)| !LATER.contains(&name.as_str()));
        let labels: Vec<(String, String)> =
            known.map(|(name, value)| (name.clone(), value.clone())).collect();
        group.targets.iter().map(move |target| (target.clone(), labels.clone())).collect::<Vec<_>>()
    };
    job.groups.iter().flat_map(of_group).collect()
}

/// What it shows of a job before relabelling, less what the job's own settings add.
async fn of_prometheus(prometheus: &Prometheus, job: &str) -> BTreeSet<Discovered> {
    let answer = prometheus.get("/api/v1/targets", &[("state", "active")]).await;
    let data = answer.get("data").unwrap_or(&answer);
    let mut found = BTreeSet::new();
    for target in data["activeTargets"].as_array().unwrap() {
        let labels = target["discoveredLabels"].as_object().unwrap();
        if labels["job"] != job {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let added = |name: &str| {
            let own = ["job", "__address__", "__scheme__", "__metrics_path__"];
            own.contains(&name) || name.starts_with("__scrape_")
        };
        let discovered = labels.iter().filter(|(name, _)| !added(name));
        let mut discovered: Vec<(String, String)> =
            discovered.map(|(name, value)| (name.clone(), text(value))).collect();
        discovered.sort();
        found.insert((text(&labels["__address__"]), discovered));
    }
    found
}
