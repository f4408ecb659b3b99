//! What demo and tests need beside Rust: Debian packages and, for tests, one Python program. Installed when that is
//! possible, else named exactly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::{root, run, say};

/// A program and the Debian package that brings it.
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What the demo runs.
pub(crate) const DEMO: &[Need] = &[
    Need { program: "prometheus", package: "prometheus" },
    Need { program: "prometheus-node-exporter", package: "prometheus-node-exporter" },
];

/// What PromQL is measured against.
pub(crate) const PEERS: &[Need] = &[
    Need { program: "prometheus", package: "prometheus" },
    Need { program: "victoria-metrics", package: "victoria-metrics" },
];

/// Installs the packages whose program is missing.
pub(crate) fn debian_packages(needs: &[Need]) -> anyhow::Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| find_program(need.program).is_none())
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let Some(prefix) = root_prefix() else {
        bail!("these Debian packages are missing; run: sudo apt-get update && sudo {install}");
    };
    if find_program("apt-get").is_none() {
        bail!(
            "these programs are missing and there is no apt-get to install them: {}",
            missing.join(", ")
        );
    }
    say(&format!("installing {}", missing.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut words = prefix.clone();
        words.extend(["apt-get"]);
        words.extend(arguments);
        run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&arguments)
}

/// The folder with `moto_server`, the second opinion on the S3 protocol: from PATH, else from a virtual environment
/// under target/, made on first use.
pub(crate) fn moto() -> anyhow::Result<PathBuf> {
    if let Some(found) = find_working_moto() {
        return Ok(found);
    }
    let environment = root().join("target/tools/moto");
    let bin = environment.join("bin");
    if !bin.join("moto_server").exists() {
        let python_can =
            |module: &str| quiet(Command::new("python3").args(["-c", &format!("import {module}")]));
        if !(python_can("venv") && python_can("ensurepip")) {
            debian_packages(&[Need {
                program: "python3-venv-is-missing",
                package: "python3-venv",
            }])?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        run(Command::new(bin.join("pip")).args(["install", "--quiet", "moto[server]>=5,<6"]))?;
    }
    Ok(bin)
}

/// A `moto_server` on PATH that starts (a version manager's shim may be there without the program behind it).
fn find_working_moto() -> Option<PathBuf> {
    let program = find_program("moto_server")?;
    quiet(Command::new(&program).arg("--help"))
        .then(|| program.parent().map(Path::to_path_buf))
        .flatten()
}

/// How to become root: not at all, through sudo without a password, or `None`.
fn root_prefix() -> Option<Vec<&'static str>> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&id.stdout).trim() == "0" {
        return Some(Vec::new());
    }
    quiet(Command::new("sudo").args(["-n", "true"])).then(|| vec!["sudo", "-n"])
}

fn quiet(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where a program lies on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}
