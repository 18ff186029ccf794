//! Tables are read row by row: beside what is kept of them, one row is in memory, of a size that a
//! row may have.

use crate::error::{Error, Result};
use crate::store::cells;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

/// Bytes of a row, at most.
pub(crate) const ROW_BYTES_MAX: u64 = 4 << 20;

/// Calls `take` with each line of `source`, its number and its end (`\n`), if it has one. `path` is
/// for errors.
///
/// # Errors
/// When the file cannot be read, a line is longer than [`ROW_BYTES_MAX`], or `take` fails.
pub(crate) fn each_line(
    source: impl Read,
    path: &Path,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut piece = source.by_ref().take(ROW_BYTES_MAX + 1);
        piece.read_until(b'\n', &mut line).map_err(|e| Error::io("read", path, e))?;
        if line.len() as u64 > ROW_BYTES_MAX {
            return Err(Error::malformed_at(path, number, TooLong::WORDS));
        }
        if line.is_empty() {
            break;
        }
        take(number, &line)?;
    }
    Ok(())
}

/// Calls `take` with each JSON object of `source`, one a line, and its line number; blank lines are
/// passed over.
///
/// # Errors
/// As [`each_line`]; a line of another form.
pub(crate) fn each_json<T: DeserializeOwned>(
    source: impl Read,
    path: &Path,
    mut take: impl FnMut(u64, T) -> Result<()>,
) -> Result<()> {
    each_line(source, path, |number, line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let value = serde_json::from_slice(line)
            .map_err(|e| Error::malformed_at(path, number, e.to_string()))?;
        take(number, value)
    })
}

/// Calls `take` with each row below the header line of `source`, a CSV file, and its line number.
///
/// # Errors
/// When the file cannot be read, a row has another form or is longer than [`ROW_BYTES_MAX`], or
/// `take` fails.
pub(crate) fn each_row<T: DeserializeOwned>(
    source: impl Read,
    path: &Path,
    mut take: impl FnMut(u64, T) -> Result<()>,
) -> Result<()> {
    let mut reader = csv::Reader::from_reader(Metered { source, left: ROW_BYTES_MAX });
    let mut line = 1;
    let bad = |e: csv::Error, line: u64| match (e.position().map(csv::Position::line), e.kind()) {
        (_, csv::ErrorKind::Io(io)) if !io.get_ref().is_some_and(|e| e.is::<TooLong>()) => {
            Error::malformed(path, format!("cannot be read: {io}"))
        }
        (position, _) => Error::malformed_at(path, position.unwrap_or(line), e.to_string()),
    };
    let headers = reader.headers().map_err(|e| bad(e, line))?.clone();
    let mut record = csv::StringRecord::new();
    loop {
        reader.get_mut().left = ROW_BYTES_MAX;
        let next = reader.position().line();
        if !reader.read_record(&mut record).map_err(|e| bad(e, next))? {
            return Ok(());
        }
        line = record.position().map_or(next, csv::Position::line);
        if record.iter().any(|cell| cell.starts_with('\'')) {
            record = record.iter().map(cells::unguarded).collect();
        }
        take(line, record.deserialize(Some(&headers)).map_err(|e| bad(e, line))?)?;
    }
}

/// A file of which so many bytes may be read until the next row is there.
struct Metered<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, TooLong));
        }
        let count = self.source.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A row that is longer than a row may be.
#[derive(Debug, thiserror::Error)]
#[error("{}", Self::WORDS)]
struct TooLong;

impl TooLong {
    const WORDS: &str = "expected a row of at most 4 MiB, found a longer one";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes, without end of line.
    fn endless(byte: u8) -> impl Read {
        io::repeat(byte).take(1 << 40)
    }

    #[test]
    fn a_row_without_end_is_refused_after_what_a_row_may_have() {
        let path = Path::new("latency.csv");
        let refused = |result: Result<()>| result.unwrap_err().to_string();
        let ignore = |_: u64, _: serde_json::Value| Ok(());
        let head = b"a,b\n1,2\n".as_slice();
        for message in [
            refused(each_json(endless(b' '), path, ignore)),
            refused(each_row(endless(b'x'), path, ignore)),
            refused(each_row(endless(b','), path, ignore)),
            refused(each_row(head.chain(endless(b'7')), path, ignore)),
            refused(each_row(head.chain(b"\"".as_slice()).chain(endless(b'\n')), path, ignore)),
        ] {
            assert!(message.contains("a row of at most 4 MiB"), "{message}");
        }
        let message = refused(each_row(head.chain(endless(b'7')), path, ignore));
        assert!(message.contains("latency.csv, line 3"), "{message}");
    }

    #[test]
    fn the_first_wrong_row_ends_the_reading() {
        let source = b"[1]\n[2]\n".as_slice().chain(endless(b'\n'));
        let mut seen = Vec::new();
        let message = each_json(source, Path::new("t.jsonl"), |line, row: Vec<u8>| {
            seen.push((line, row));
            if line < 2 { Ok(()) } else { Err(Error::invalid("wrong")) }
        });
        assert!(message.is_err());
        assert_eq!(seen, [(1, vec![1]), (2, vec![2])]);
    }
}
