//! What a whole coordinator costs: memory, CPU and bytes pushed, at 10k, 100k and 1M targets on 20, 200 and 2,000 shards.
//!
//! A child process is the coordinator as it is run, flags, discovery by files, gRPC and all, with the allocator of the
//! real binary; this process plays the sidecars and the targets. At 10k the shards begin empty, and every target is
//! counted by a trial scrape. At the larger sizes the shards hold everything already, as they do beside a coordinator
//! that was restarted: it reads what they hold and, with its new epoch, hands all of it to all of them once. Then it is
//! left at rest for some turns, then one target in a hundred is new: counted, placed and pushed as a difference.
//! Fails beyond 2 GiB resident, and where anything is pushed at rest. A turn's CPU is all of it: 2,000 calls and their
//! answers, and reading the metrics page every other second, as well as the plan. `-- --targets 10000,100000`: other sizes.
#![allow(clippy::print_stdout, reason = "a benchmark reports on standard output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "scale/child.rs"]
mod child;
#[path = "scale/sidecars.rs"]
mod sidecars;
#[path = "scale/world.rs"]
mod world;

use anyhow::Context as _;
use child::Child;
use world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Up to here the shards begin empty.
const COUNTED: usize = 10_000;
/// Turns at rest that are looked at.
const TURNS: u64 = 5;
const MAX_RESIDENT: u64 = 2 << 30;

fn main() -> anyhow::Result<()> {
    svc::run::init_crypto();
    let runtime = tokio::runtime::Runtime::new()?;
    if child::is_child() {
        return runtime.block_on(child::run());
    }
    println!(
        "   targets  shards  all held after  CPU till then  pushed till then  CPU a turn  turn  pushed at rest  \
         1 % new: pushed  CPU  turns  resident  peak"
    );
    for targets in sizes()? {
        runtime.block_on(measure(targets))?;
    }
    Ok(())
}

fn sizes() -> anyhow::Result<Vec<usize>> {
    let mut args = std::env::args().skip_while(|arg| arg != "--targets").skip(1);
    let Some(sizes) = args.next() else { return Ok(SIZES.to_vec()) };
    sizes.split(',').map(|size| size.parse().with_context(|| format!("read {size:?}"))).collect()
}

/// Prints a line.
async fn measure(targets: usize) -> anyhow::Result<()> {
    let world = World::start(targets, targets > COUNTED).await?;
    let began = std::time::Instant::now();
    let child = Child::start(&world).await?;
    world.wait_until_held(&child, targets).await?;
    let all_after = began.elapsed().as_secs_f64();
    let (first_cpu, first_pushed) = (child.cpu()?, child.metric("pushed_bytes_total").await?);
    // One that is no longer under way with anything.
    child.wait_for_turns(2).await?;
    let (cpu, pushed, turns) = (child.cpu()?, child.metric("pushed_bytes_total").await?, TURNS);
    let spent = child.metric("cycle_duration_seconds_sum").await?;
    child.wait_for_turns(turns).await?;
    let cpu_a_turn = (child.cpu()? - cpu) / turns as f64;
    let turn = (child.metric("cycle_duration_seconds_sum").await? - spent) / turns as f64;
    let phases = child.phases().await?;
    let at_rest = child.metric("pushed_bytes_total").await? - pushed;
    let before_new = child.metric("pushed_bytes_total").await?;
    let (cpu_before, turns_before) = (child.cpu()?, child.turns().await?);
    let more = targets / 100;
    world.add(targets, more)?;
    world.wait_until_held(&child, targets + more).await?;
    let delta = child.metric("pushed_bytes_total").await? - before_new;
    let (cpu_new, turns_new) = (child.cpu()? - cpu_before, child.turns().await? - turns_before);
    let (resident, peak) = child.memory()?;
    println!(
        "{targets:>10}  {:>6}  {all_after:>12.1} s  {first_cpu:>11.1} s  {:>12.1} MB  {cpu_a_turn:>8.2} s  {turn:>4.2} s  \
         {at_rest:>12.0} B  {:>12.1} kB  {cpu_new:>4.1} s  {turns_new:>4}  {:>4} MiB  {:>4} MiB",
        world.shards(),
        first_pushed / 1e6,
        delta / 1e3,
        resident >> 20,
        peak >> 20,
    );
    println!("            {phases}");
    child.stop().await?;
    world.stop().await;
    anyhow::ensure!(at_rest == 0.0, "{at_rest} bytes were pushed at rest");
    anyhow::ensure!(peak <= MAX_RESIDENT, "{peak} bytes were resident");
    Ok(())
}
