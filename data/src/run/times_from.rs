//! Where the times of a run come from. Records say it in the words of their `device`, which are
//! read here alone.

/// Where times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimesFrom {
    /// The clock of this program, beside the device that it names.
    Clock,
    /// The clock of another engine, whose files were imported.
    OtherEngine,
    /// No clock: the data sheet of a card.
    DataSheet,
}

impl TimesFrom {
    /// The `device` of measurements that another engine made.
    pub const IMPORTED: &str = "imported";
    /// The `device` of times that were computed from a data sheet.
    pub const DERIVED: &str = "derived from the data sheet";

    /// What the `device` of a record says.
    pub fn of_device(device: &str) -> Self {
        match device {
            Self::IMPORTED => Self::OtherEngine,
            // Older records say it in other words that begin alike.
            _ if device.starts_with("derived") => Self::DataSheet,
            _ => Self::Clock,
        }
    }
}
