//! `fuzz parser chunks --minutes 60 --seed 7`: runs targets side by side and reports what they find.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use fuzz::memory::Counted;
use fuzz::random::Random;
use fuzz::{Found, Limits, Summary, Target, replay, run, targets};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Stack of a target's thread: what a thread of the servers has.
const STACK: usize = 2 << 20;

#[derive(Debug, Parser)]
#[command(name = "fuzz", about = "Mutational fuzzing of what reads foreign bytes")]
struct Arguments {
    /// Which targets; all when none is named.
    targets: Vec<String>,
    /// For how long.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the input with this number to stdout and does no more.
    #[arg(long)]
    show: Option<u64>,
    /// The number of the first input.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Folder of kept cases, read first; findings are written into it.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/cases"))]
    cases: PathBuf,
}

fn main() -> ExitCode {
    match fuzz(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("fuzz: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was found.
fn fuzz(arguments: &Arguments) -> anyhow::Result<bool> {
    let mut targets = targets();
    for name in &arguments.targets {
        anyhow::ensure!(
            targets.iter().any(|target| target.name() == name),
            "no target is called {name}"
        );
    }
    targets.retain(|target| {
        arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name())
    });
    if let Some(number) = arguments.show {
        for target in &targets {
            let input = target.input(&mut Random::new(arguments.seed, number));
            std::io::stdout().write_all(&input).context("write the input")?;
        }
        return Ok(true);
    }
    std::thread::scope(|scope| {
        let start = |target: Box<dyn Target>| {
            let work = move || one(&*target, arguments);
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)
        };
        let threads: Vec<_> = targets.into_iter().map(start).collect();
        let mut clean = true;
        for thread in threads {
            let ended = thread.context("start a thread")?.join();
            clean &= ended.map_err(|_| anyhow::anyhow!("a target's thread panicked"))??;
        }
        Ok(clean)
    })
}

fn one(target: &dyn Target, arguments: &Arguments) -> anyhow::Result<bool> {
    let name = target.name();
    let folder = arguments.cases.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let (wrong, kept) =
        replay(target, &arguments.cases, Limits::DEFAULT).context("read the kept cases")?;
    for (path, problem) in &wrong {
        say(&format!("{name}: {}: {problem}", path.display()));
    }
    say(&format!("{name}: {kept} kept cases, {} of them wrong", wrong.len()));
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let range = (arguments.seed, arguments.from);
    let progress = |summary: &Summary| say(&describe(name, summary));
    match run(target, range, time, Limits::DEFAULT, progress) {
        Ok(summary) => {
            say(&format!("{}; CLEAN for {} minutes", describe(name, &summary), arguments.minutes));
            Ok(wrong.is_empty())
        }
        Err(found) => {
            say(&keep(name, &folder, &found)?);
            Ok(false)
        }
    }
}

fn describe(name: &str, summary: &Summary) -> String {
    let Summary { inputs, next, slowest: (slowest, number), most_memory } = summary;
    format!(
        "{name}: {inputs} inputs, next {next}, slowest {slowest:?} (input {number}), most memory {most_memory} bytes"
    )
}

/// Writes what was found beside the kept cases.
fn keep(name: &str, folder: &Path, found: &Found) -> anyhow::Result<String> {
    let path = folder.join(format!("found-{}", found.number));
    std::fs::write(&path, &found.input).with_context(|| format!("write {}", path.display()))?;
    let Found { number, problem, input } = found;
    let shown = String::from_utf8_lossy(input);
    Ok(format!("{name}: input {number}: {problem}\n  {shown:?}\n  kept as {}", path.display()))
}

#[expect(clippy::print_stderr, reason = "a command-line tool talks to its user")]
fn say(line: &str) {
    eprintln!("{line}");
}
