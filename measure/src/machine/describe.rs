//! The machine, as the system describes it, and how busy it is.
//!
//! Read from Linux's `/proc` and `/sys`; what is not readable elsewhere stays unknown, never
//! guessed. By hand: six fields are read, of which a crate for `/proc` would replace a few lines
//! and still leave `/sys`.

use s3d_data::{Bytes, Cache, Hertz, Machine};
use s3d_model::device::{self, Device, Isa};
use std::fs;
use std::path::Path;

/// Describes this machine; its measured rates are left open (see [`crate::stages::probe`]).
pub fn describe() -> Machine {
    Machine {
        model: processor().unwrap_or_else(|| std::env::consts::ARCH.to_string()),
        cores: cores(),
        memory_bytes: memory_bytes().unwrap_or_default(),
        caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
        features: Isa::detect().name().to_string(),
        system: system(),
        governor: word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        read_bytes_per_s: None,
        flops_per_s: None,
        load: load(),
        card: None,
        adapter: None,
    }
}

/// Describes what computes on `device`: this machine, or the card or Vulkan adapter in it with the
/// machine around it.
pub fn describe_device(device: &Device) -> Machine {
    let machine = describe();
    if let Some(adapter) = device::adapter_of(device) {
        return Machine {
            model: format!("{} beside {}", adapter.name, machine.model),
            caches: Vec::new(),
            features: adapter.backend.clone(),
            adapter: Some(adapter),
            ..machine
        };
    }
    let Some(card) = device::facts(device) else { return machine };
    Machine {
        model: format!(
            "{} ({} multiprocessors) beside {}",
            card.name, card.multiprocessors, machine.model
        ),
        memory_bytes: card.memory,
        caches: vec![Cache { level: 2, kind: "Unified".into(), bytes: card.cache }],
        features: card.architecture,
        ..machine
    }
}

/// Logical cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One-minute load, where the system tells.
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// What the processors have done since the system started, in clock ticks over all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ticks {
    /// Doing anything but idling or waiting for a disk.
    pub busy: u64,
    /// Taken by the hypervisor for other guests.
    pub stolen: u64,
    /// All.
    pub total: u64,
}

impl Ticks {
    /// The counters now, where the system tells.
    pub fn now() -> Option<Self> {
        Self::parse(fs::read_to_string("/proc/stat").ok()?.lines().next()?)
    }

    /// Reads the `cpu` line of `/proc/stat` (proc(5): user nice system idle iowait irq softirq
    /// steal).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<u64> =
            line.strip_prefix("cpu ")?.split_whitespace().take(8).flat_map(str::parse).collect();
        let &[user, nice, system, idle, wait, interrupt, soft, stolen] = fields.as_slice() else {
            return None;
        };
        let busy = user + nice + system + interrupt + soft;
        Some(Self { busy, stolen, total: busy + stolen + idle + wait })
    }

    /// Share of the time since `earlier` that the hypervisor took; 0 over no time.
    pub(crate) fn stolen_share(self, earlier: Self) -> f64 {
        share(self.stolen.saturating_sub(earlier.stolen), self.total.saturating_sub(earlier.total))
    }

    /// Share of the time since `earlier` that the cores were busy; 0 over no time.
    pub(crate) fn busy_share(self, earlier: Self) -> f64 {
        share(self.busy.saturating_sub(earlier.busy), self.total.saturating_sub(earlier.total))
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Current clock of the first core, where the system tells.
pub fn clock_rate() -> Option<Hertz> {
    let scaled = word("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq");
    if let Some(kilohertz) = scaled.and_then(|text| text.parse::<f64>().ok()) {
        return Some(Hertz::KILOHERTZ * kilohertz);
    }
    let megahertz = field(&fs::read_to_string("/proc/cpuinfo").ok()?, "cpu MHz")?;
    megahertz.parse::<f64>().ok().map(|value| Hertz::MEGAHERTZ * value)
}

/// Size of the memory that is free for use.
pub fn available_memory() -> Option<Bytes> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")
}

fn memory_bytes() -> Option<Bytes> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

/// A field of a `/proc` file that is given in kB. By hand: five fields, none of which other systems
/// have, where `procfs` is for Linux alone and would need that said at every use.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<Bytes> {
    let value = field(text, name)?;
    value.strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| Bytes(kilobytes << 10))
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    field(&text, "model name").or_else(|| field(&text, "Model"))
}

fn system() -> String {
    let kernel = word("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {kernel}", std::env::consts::OS).trim_end().to_string()
}

fn word(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

/// The caches below a `/sys/devices/system/cpu/cpuN/cache` folder.
fn caches(folder: &Path) -> Vec<Cache> {
    (0..8).map_while(|index| cache(&folder.join(format!("index{index}")))).collect()
}

fn cache(folder: &Path) -> Option<Cache> {
    let size = word(folder.join("size"))?;
    Some(Cache {
        level: word(folder.join("level"))?.parse().ok()?,
        kind: word(folder.join("type"))?,
        // The kernel writes sizes as "32768K".
        bytes: Bytes(size.strip_suffix('K')?.parse::<u64>().ok()? << 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores() {
        let machine = describe();
        assert!(machine.cores >= 1 && !machine.model.is_empty() && !machine.system.is_empty());
        assert!(machine.read_bytes_per_s.is_none(), "a rate is measured, not described");
    }

    #[test]
    fn caches_are_read_as_the_kernel_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("index0");
        fs::create_dir(&folder).unwrap();
        for (name, text) in [("level", "3\n"), ("type", "Unified\n"), ("size", "32768K\n")] {
            fs::write(folder.join(name), text).unwrap();
        }
        let found = caches(dir.path());
        assert_eq!(found, [Cache { level: 3, kind: "Unified".into(), bytes: Bytes(32 << 20) }]);
    }

    #[test]
    fn ticks_say_what_was_busy_and_stolen() {
        // source: proc(5), field order of the first line of /proc/stat
        let before = Ticks::parse("cpu  100 0 20 800 10 0 0 5 0 0").unwrap();
        let after = Ticks::parse("cpu  150 0 30 830 10 0 0 15 0 0").unwrap();
        assert_eq!(before, Ticks { busy: 120, stolen: 5, total: 935 });
        assert_eq!((after.busy_share(before), after.stolen_share(before)), (0.6, 0.1));
        assert_eq!(before.busy_share(before), 0.0);
        assert!(Ticks::parse("cpu0 1 2 3").is_none());
    }

    #[test]
    fn kilobytes_are_1024_bytes() {
        assert_eq!(
            kilobytes("VmPeak:\t 9 kB\nVmHWM:\t     12 kB\n", "VmHWM"),
            Some(Bytes(12 << 10))
        );
    }
}
