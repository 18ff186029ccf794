//! Dates in UTC, for headers and chat templates.

use jiff::Timestamp;

/// The date and time now, RFC 3339 in UTC with whole seconds, for headers.
pub fn utc_now() -> String {
    rfc_3339(unix_seconds())
}

/// Seconds since 1970, for chat templates that ask for the date.
pub fn unix_seconds() -> i64 {
    Timestamp::now().as_second()
}

fn rfc_3339(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_1() {
        // source: date -u -d @N +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(seconds), text);
        }
    }
}
