//! What can go wrong on a device: one line each.

use s3d_data::Bytes;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a device cannot be had, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no adapter at all.
    #[error(
        "no Vulkan adapter: install the driver of the card and its Vulkan loader, or Mesa's software Vulkan \
         (Debian: mesa-vulkan-drivers)"
    )]
    NoAdapter,
    /// There are adapters, but not of this number.
    #[error("there is no adapter {number}: adapters are numbered from 0, and {found} were found")]
    NoSuchAdapter {
        /// The number asked for.
        number: usize,
        /// How many there are.
        found: usize,
    },
    /// The adapter cannot do what the operations need.
    #[error("{adapter}: the driver offers no {what}; update it, or take another adapter")]
    Lacks {
        /// The adapter's name.
        adapter: String,
        /// What is missing.
        what: String,
    },
    /// Rows of passes of different widths do not agree on this driver.
    #[error(
        "{adapter}: {what}; results of this driver cannot be trusted, update it or take another adapter"
    )]
    Wrong {
        /// The adapter's name.
        adapter: String,
        /// What was found.
        what: String,
    },
    /// The device has no room.
    #[error("{asked} more do not fit: {held} are held here{}", of(*.most))]
    OutOfMemory {
        /// What was asked for.
        asked: Bytes,
        /// What was held before.
        held: Bytes,
        /// The memory of the device, where it says so.
        most: Option<Bytes>,
    },
    /// The device is gone: unplugged, reset, or given back.
    #[error("the device was lost ({0}); start the command again: a run goes on where it stopped")]
    Lost(String),
    /// The driver refused a call.
    #[error("the device refused a call: {0}")]
    Refused(String),
    /// Operands that do not fit each other.
    #[error("{0}")]
    Shape(String),
}

fn of(most: Option<Bytes>) -> String {
    match most {
        Some(most) => {
            format!(" of {most}; take fewer bytes a weight (--dtype q4_0) or a shorter context")
        }
        None => "; take fewer bytes a weight (--dtype q4_0) or a shorter context".into(),
    }
}
