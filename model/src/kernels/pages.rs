//! Memory for what is streamed: in large pages, where the system lends them.
//!
//! A page of 4 KiB is streamed within some 300 cycles, and each needs a walk through the tables of pages, in
//! a virtual machine through those of the host too. Pages of 2 MiB need one walk in 512.

/// `count` times `value`.
pub fn filled<T: Copy>(count: usize, value: T) -> Vec<T> {
    let mut buffer = Vec::with_capacity(count);
    // Before it is touched: a page that is there already keeps its size.
    ask_for_large_pages(&mut buffer);
    buffer.resize(count, value);
    buffer
}

/// Asks the system to back a buffer that holds nothing yet with large pages; it may decline.
#[cfg(target_os = "linux")]
fn ask_for_large_pages<T>(buffer: &mut Vec<T>) {
    use rustix::mm::{Advice, madvise};
    const LARGE: usize = 2 << 20;
    let room = buffer.spare_capacity_mut();
    let start = room.as_mut_ptr() as usize;
    // Only whole large pages within the buffer count.
    let (first, end) = (start.next_multiple_of(LARGE), (start + size_of_val(room)) / LARGE * LARGE);
    if first < end {
        // SAFETY: the pages lie inside the buffer, and their size changes nothing that a program sees.
        // That the system declines is no error.
        unsafe { madvise(first as *mut _, end - first, Advice::LinuxHugepage) }.ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_filled() {
        for count in [0, 1, 1000, 3_000_000] {
            assert_eq!(filled(count, 1.5f32), vec![1.5; count]);
        }
    }
}
