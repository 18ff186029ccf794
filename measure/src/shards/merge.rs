//! Shards of one request, put together into one run directory.
//!
//! Every shard holds a contiguous part of the work, so its tables put one behind the other are
//! those of a run that was never divided. Samples keep the machine that made them: machines that
//! are alike in all that the system says about them (processor, cores, caches, memory, system,
//! governor) share an index, since whatever is compared is compared inside a block, and a block is
//! never divided.

use crate::error::{Error, Result};
use crate::record::resume::{Identity, first_difference, settings};
use crate::starts::spread;
use s3d_data::run::replace::save_whole;
use s3d_data::{
    Coverage, Machine, Merged, MergedShard, Observations, Run, RunDir, RunHeader, Seconds, Sharding,
};
use std::path::{Path, PathBuf};

/// How to merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merging {
    /// Whether shards may be missing or unfinished.
    pub partial: bool,
    /// Whether a run at the destination may be replaced.
    pub force: bool,
    /// The command line, for the header.
    pub command: Vec<String>,
}

/// One shard, read.
struct Part {
    dir: PathBuf,
    sharding: Sharding,
    run: Run,
}

/// Merges the shards in `dirs` into `out` and returns what was written: all of it or nothing.
///
/// # Errors
/// A folder that holds no shard; shards of different requests, models or settings, with what
/// differs; one that is missing or unfinished (unless [`Merging::partial`]) or there twice; a
/// destination that holds something (see [`save_whole`]).
pub fn merge(dirs: &[PathBuf], out: &RunDir, how: &Merging) -> Result<Run> {
    let mut parts: Vec<Part> =
        dirs.iter().map(|dir| read(dir, how.partial)).collect::<Result<_>>()?;
    parts.sort_by_key(|part| part.sharding.shard);
    check(&parts, how.partial)?;
    keep_out_of(dirs, out)?;
    let run = combine(&parts, how)?;
    let header = save_whole(out, &run, &run.observations.clone().into_journal(), how.force)?;
    Ok(Run { header, ..run })
}

/// Reads one shard; one that is not finished from its journal, since its tables are not written
/// yet.
fn read(dir: &Path, partial: bool) -> Result<Part> {
    let from = RunDir::new(dir);
    let header = from.load_header()?;
    let place = dir.display();
    let Some(sharding) = header.shard.clone() else {
        let what = if header.merged.is_some() { "merged already" } else { "no shard" };
        return Err(Error::invalid(format!(
            "{place}: {what}; expected run directories of s3d measure --shard i/n (whole runs \
             stand side by side with s3d optimize DIR DIR, s3d report DIR DIR)"
        )));
    };
    if header.ended.is_some() {
        return Ok(Part { dir: dir.to_path_buf(), sharding, run: from.load()? });
    }
    if !partial {
        return Err(Error::invalid(format!(
            "{place}: shard {} is not finished; give its command again to go on with it, or merge \
             what there is with --partial",
            sharding.shard
        )));
    }
    let observations = Observations::from_journal(from.load_journal()?);
    Ok(Part { dir: dir.to_path_buf(), sharding, run: Run { header, observations } })
}

/// Whether sorted `parts` are those of one request, each once, and all of them.
fn check(parts: &[Part], partial: bool) -> Result<()> {
    let Some(first) = parts.first() else {
        return Err(Error::invalid("no shards to merge: expected their run directories"));
    };
    for other in &parts[1..] {
        let (a, b) = (identity(first), identity(other));
        if let Some((what, here, there)) = first_difference(&a, &b) {
            return Err(Error::invalid(format!(
                "{} and {} do not belong together: {what} is {here} in the first, {there} in the \
                 second; measure both shards with the same",
                first.dir.display(),
                other.dir.display()
            )));
        }
    }
    if let Some(pair) =
        parts.windows(2).find(|pair| pair[0].sharding.shard == pair[1].sharding.shard)
    {
        return Err(Error::invalid(format!(
            "{} and {} both hold shard {}; give each shard once",
            pair[0].dir.display(),
            pair[1].dir.display(),
            pair[0].sharding.shard
        )));
    }
    match missing(parts) {
        Some(missing) if !partial => Err(Error::invalid(format!(
            "{missing}: give their run directories too, or --partial to do without"
        ))),
        _ => Ok(()),
    }
}

/// The shards that are not there, in words.
fn missing(parts: &[Part]) -> Option<String> {
    let count = parts.first()?.sharding.shard.count();
    let here: Vec<usize> = parts.iter().map(|part| part.sharding.shard.index()).collect();
    let gone: Vec<String> =
        (1..=count).filter(|i| !here.contains(i)).map(|i| i.to_string()).collect();
    let are = if gone.len() == 1 { "shard" } else { "shards" };
    (!gone.is_empty()).then(|| format!("of {count} shards, {are} {} missing", gone.join(", ")))
}

/// What must be the same in all shards. Traces are the same on any number of threads, times are
/// not.
fn identity(part: &Part) -> Identity {
    let header = &part.run.header;
    let seen = &part.run.observations;
    let timed = !seen.latency.is_empty() || !seen.throughput.is_empty();
    let mut identity = vec![
        ("the number of shards".to_string(), part.sharding.shard.count().to_string()),
        ("the model's content hash".to_string(), header.model.content_hash.clone()),
    ];
    for (name, value) in settings(header) {
        match name.as_str() {
            "--threads" if !timed => {}
            // cuda:0 and cuda:1 are cards of one kind or tell themselves apart as machines.
            "--device" => {
                let kind = value.split(':').next().unwrap_or_default();
                identity.push((name, kind.to_string()));
            }
            _ => identity.push((name, value)),
        }
    }
    identity.extend(part.sharding.request.clone());
    identity
}

/// The destination must not be one of the shards: they stay.
fn keep_out_of(dirs: &[PathBuf], out: &RunDir) -> Result<()> {
    let Ok(root) = out.root().canonicalize() else { return Ok(()) };
    match dirs.iter().any(|dir| dir.canonicalize().is_ok_and(|dir| dir == root)) {
        true => Err(Error::invalid(format!(
            "--out {}: is one of the shards; give another folder",
            out.root().display()
        ))),
        false => Ok(()),
    }
}

fn combine(parts: &[Part], how: &Merging) -> Result<Run> {
    let mut machines: Vec<Machine> = Vec::new();
    let mut observations = Observations::default();
    let mut shards = Vec::new();
    for part in parts {
        let machine = index_of(&mut machines, part)?;
        let first_start = spread::next(&observations.throughput, machine);
        observations.append(on_machine(part.run.observations.clone(), machine, first_start));
        shards.push(of_header(part, machine));
    }
    let mut header = header(parts, machines, shards, how)?;
    header.starts = spread::of(&observations.throughput);
    Ok(Run { header, observations })
}

/// The index of the shard's machine among `machines`, where it is added if none is like it.
fn index_of(machines: &mut Vec<Machine>, part: &Part) -> Result<usize> {
    let [own] = part.run.header.machines.as_slice() else {
        return Err(Error::invalid(format!(
            "{}: expected one machine in run.json, found {}; measure the shard again",
            part.dir.display(),
            part.run.header.machines.len()
        )));
    };
    if let Some(index) = machines.iter().position(|known| alike(known, own)) {
        let known = &mut machines[index];
        // A limit is the best that was ever seen.
        known.read_bytes_per_s = larger(known.read_bytes_per_s, own.read_bytes_per_s);
        known.flops_per_s = larger(known.flops_per_s, own.flops_per_s);
        known.load = larger(known.load, own.load);
        return Ok(index);
    }
    machines.push(own.clone());
    Ok(machines.len() - 1)
}

/// Whether two machines are the same in all but what was measured on them.
fn alike(a: &Machine, b: &Machine) -> bool {
    let described = |machine: &Machine| Machine {
        read_bytes_per_s: None,
        flops_per_s: None,
        load: None,
        ..machine.clone()
    };
    described(a) == described(b)
}

fn larger<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b > a { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The samples of one shard, each with its machine; its starts are others than those of the shards
/// before it.
fn on_machine(mut seen: Observations, machine: usize, first_start: usize) -> Observations {
    let timed = seen.latency.iter_mut().chain(&mut seen.together.latency);
    timed.for_each(|sample| sample.machine = machine);
    seen.together.throughput.iter_mut().for_each(|sample| sample.machine = machine);
    for sample in &mut seen.throughput {
        sample.machine = machine;
        sample.start += first_start;
    }
    seen
}

fn of_header(part: &Part, machine: usize) -> MergedShard {
    let header = &part.run.header;
    MergedShard {
        shard: part.sharding.shard,
        machine,
        command: header.command.clone(),
        threads: header.threads,
        started: header.started.clone(),
        ended: header.ended.clone(),
        seconds_measuring: header.seconds_measuring,
    }
}

/// The header of the first shard, with what all of them say together.
fn header(
    parts: &[Part],
    machines: Vec<Machine>,
    shards: Vec<MergedShard>,
    how: &Merging,
) -> Result<RunHeader> {
    let Some(first) = parts.first() else { return Err(Error::invalid("no shards to merge")) };
    let headers = || parts.iter().map(|part| &part.run.header);
    let sum = |of: fn(&RunHeader) -> Seconds| headers().map(of).sum::<Seconds>();
    let merged = Merged {
        count: first.sharding.shard.count(),
        request: first.sharding.request.clone(),
        shards,
    };
    Ok(RunHeader {
        command: how.command.clone(),
        warnings: warnings(parts, &machines),
        machines,
        started: headers().map(|h| h.started.clone()).min().unwrap_or_default(),
        ended: headers().filter_map(|h| h.ended.clone()).max(),
        seconds_measuring: sum(|h| h.seconds_measuring),
        cpu_seconds: Some(sum(|h| h.cpu_seconds.unwrap_or_default())),
        other_programs: headers().filter_map(|h| h.other_programs).reduce(f64::max),
        stopped: headers().find_map(|h| h.stopped),
        coverage: coverage(headers()),
        shard: None,
        merged: Some(merged),
        asked: None,
        tables: None,
        ..first.run.header.clone()
    })
}

/// Advice of all shards, each once, and what the merge itself has to say.
fn warnings(parts: &[Part], machines: &[Machine]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let unfinished = parts.iter().filter(|part| part.run.header.ended.is_none());
    let unfinished =
        unfinished.map(|part| format!("shard {} was not finished", part.sharding.shard));
    let incomplete: Vec<String> = missing(parts).into_iter().chain(unfinished).collect();
    if !incomplete.is_empty() {
        all.push(format!(
            "a partial merge: {}; give all finished shards to s3d merge --force",
            incomplete.join("; ")
        ));
    }
    if machines.len() > 1 {
        all.push(format!(
            "measured on {} different machines, whose times are kept apart: a speedup is that of \
             one of them (s3d optimize --machine N, counted from 0 as in run.json)",
            machines.len()
        ));
    }
    let mut versions: Vec<&str> =
        parts.iter().map(|part| part.run.header.program_version.as_str()).collect();
    versions.dedup();
    if versions.len() > 1 {
        all.push(format!("shards were measured by several versions: {}", versions.join(", ")));
    }
    for warning in parts.iter().flat_map(|part| &part.run.header.warnings) {
        if !all.contains(warning) {
            all.push(warning.clone());
        }
    }
    all
}

/// What the traces of all shards cover, beside what generating would have taken.
fn coverage<'a>(headers: impl Iterator<Item = &'a RunHeader>) -> Option<Coverage> {
    headers.filter_map(|header| header.coverage.clone()).reduce(|a, b| Coverage {
        plans: a.plans.max(b.plans), // every shard counts all plans of the request
        positions: a.positions + b.positions,
        trace_seconds: a.trace_seconds + b.trace_seconds,
        generation_seconds: a.generation_seconds + b.generation_seconds,
        sampled_plans: a.sampled_plans + b.sampled_plans,
    })
}
