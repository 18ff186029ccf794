//! The time that a template is told when it asks for today's date.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A point of time. It is given, not read from a clock, so that the same prompt can be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    seconds: i64,
    local: bool,
}

impl Now {
    /// `seconds` since 1970, told in the time zone of the system.
    pub const fn local(seconds: i64) -> Self {
        Self { seconds, local: true }
    }

    /// `seconds` since 1970, told as UTC.
    pub const fn utc(seconds: i64) -> Self {
        Self { seconds, local: false }
    }

    /// The time that a record holds in the form of RFC 3339, told in the time zone of the system.
    pub fn of_record(text: &str) -> Option<Self> {
        let time: Timestamp = text.parse().ok()?;
        Some(Self::local(time.as_second()))
    }

    /// The time in the form that `strftime` of C and Python describe, such as `%d %b %Y`.
    ///
    /// # Errors
    /// A form that is not known, or a time outside the years that have dates.
    pub(crate) fn strftime(self, form: &str) -> Result<String, String> {
        let zone = if self.local { TimeZone::system() } else { TimeZone::UTC };
        let time = Timestamp::from_second(self.seconds).map_err(|e| e.to_string())?;
        strtime::format(form, &time.to_zoned_datetime(zone)).map_err(|e| e.to_string())
    }
}
