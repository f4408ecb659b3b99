//! What the sidecar runs with: checked, complete, free of clap.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::labels::is_legacy_label_name;
use url::Url;

use crate::Args;

/// Checked settings. Paths are absolute: they end up in files that another process reads.
#[derive(Debug, Clone)]
pub struct Config {
    pub http_address: SocketAddr,
    pub grpc_address: SocketAddr,
    pub prometheus_url: Url,
    pub data_dir: PathBuf,
    pub output_file: PathBuf,
    pub source: ConfigSource,
    pub labels: Vec<(String, String)>,
    pub poll_interval: Duration,
    pub churn_interval: Duration,
}

/// Where the user's prometheus.yml comes from.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    /// The coordinator sends it; its relative paths start at this folder.
    Pushed { base_dir: PathBuf },
    /// It is a file here (a mounted ConfigMap); what the coordinator sends is not used.
    File(PathBuf),
}

impl ConfigSource {
    /// Where relative paths in the user's configuration start.
    pub(crate) fn base_dir(&self) -> &Path {
        match self {
            Self::Pushed { base_dir } => base_dir,
            Self::File(path) => path.parent().unwrap_or(Path::new("/")),
        }
    }
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        let Args {
            http_address,
            grpc_address,
            prometheus_url,
            data_dir,
            config_output_file,
            config_file,
            config_base_dir,
            label,
            poll_interval,
            churn_interval,
        } = args;
        let data_dir = absolute(&data_dir)?;
        let output_file = match config_output_file {
            Some(path) => absolute(&path)?,
            None => data_dir.join("prometheus.yml"),
        };
        let source =
            match (config_file.filter(|path| !path.as_os_str().is_empty()), config_base_dir) {
                (Some(path), _) => ConfigSource::File(absolute(&path)?),
                (None, Some(base_dir)) => ConfigSource::Pushed { base_dir: absolute(&base_dir)? },
                (None, None) => ConfigSource::Pushed { base_dir: data_dir.clone() },
            };
        if poll_interval.is_zero() {
            bail!("--poll-interval has to be more than 0");
        }
        if churn_interval < Duration::from_secs(1) {
            bail!("--churn-interval has to be 1s or more");
        }
        Ok(Self {
            http_address,
            grpc_address,
            prometheus_url: base_url(&prometheus_url)?,
            data_dir,
            output_file,
            source,
            labels: label.iter().map(|text| parse_label(text)).collect::<anyhow::Result<_>>()?,
            poll_interval,
            churn_interval,
        })
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find the folder of {}", path.display()))
}

/// A URL that other paths are joined to, with a prefix (`--web.route-prefix`) where there is one.
fn base_url(text: &str) -> anyhow::Result<Url> {
    let context = || format!("read --prometheus.url {text:?}");
    let mut url: Url = text.parse().with_context(context)?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        bail!("--prometheus.url {text:?} is no http or https URL");
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Thanos' syntax: `name="value"`, the value a Go string literal.
fn parse_label(text: &str) -> anyhow::Result<(String, String)> {
    let Some((name, quoted)) = text.split_once('=') else {
        bail!("--label {text:?}: expected name=\"value\"");
    };
    if !is_legacy_label_name(name) {
        bail!("--label {text:?}: {name:?} is no label name");
    }
    let raw = quoted.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
    let value = match raw {
        Some(value) => value.to_owned(),
        // The escapes that occur in practice are the same in Go and in JSON.
        None => serde_json::from_str(quoted)
            .with_context(|| format!("--label {text:?}: the value has to be in quotes"))?,
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn config(flags: &[&str]) -> anyhow::Result<Config> {
        let flags = ["scraper-sidecar"].iter().chain(flags);
        Cli::try_parse_from(flags)?.args.try_into()
    }

    #[test]
    fn defaults_need_no_flag_and_paths_become_absolute() {
        Cli::command().debug_assert();
        let read = config(&[]).unwrap();
        assert_eq!(read.http_address.port(), 8080);
        assert_eq!(read.grpc_address.port(), 8081);
        assert!(read.data_dir.is_absolute());
        assert_eq!(read.output_file, read.data_dir.join("prometheus.yml"));
        assert!(
            matches!(&read.source, ConfigSource::Pushed { base_dir } if *base_dir == read.data_dir)
        );
    }

    #[test]
    fn an_empty_config_file_means_that_the_coordinator_sends_it() {
        let read = config(&["--config.file="]).unwrap();
        assert!(matches!(read.source, ConfigSource::Pushed { .. }));
        let read = config(&["--config.file=/etc/prometheus.yml", "--label=a=\"b\""]).unwrap();
        assert_eq!(read.source.base_dir(), Path::new("/etc"));
        assert!(config(&["--poll-interval=0"]).is_err());
        assert!(config(&["--churn-interval=0"]).is_err());
    }

    #[test]
    fn labels_are_read_in_thanos_syntax() {
        for (text, value) in [
            (r#"replica="0""#, "0"),
            (r#"replica="""#, ""),
            (r#"replica="a\"b\\c""#, r#"a"b\c"#),
            ("replica=`a\"b`", "a\"b"),
            (r#"replica="a=b""#, "a=b"),
        ] {
            let read = parse_label(text).unwrap();
            assert_eq!(read, ("replica".to_owned(), value.to_owned()), "{text}");
        }
        for text in ["replica", "replica=0", "re-plica=\"0\"", "=\"0\"", "replica=\"0", "replica="]
        {
            assert!(parse_label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_prefix_of_prometheus_is_kept() {
        for (text, joined) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090/-/ready"),
            ("http://127.0.0.1:9090/prom", "http://127.0.0.1:9090/prom/-/ready"),
        ] {
            assert_eq!(base_url(text).unwrap().join("-/ready").unwrap().as_str(), joined);
        }
        assert!(base_url("127.0.0.1:9090").is_err());
        assert!(base_url("ftp://127.0.0.1/").is_err());
    }
}
