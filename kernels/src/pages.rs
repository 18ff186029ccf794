//! Memory for what is streamed: in large pages, where the system lends them.
//!
//! A page of 4 KiB is streamed within some 300 cycles, and each needs a walk through the tables of
//! pages, in a virtual machine through those of the host too. Pages of 2 MiB need one walk in 512.

use memmap2::MmapMut;
use std::alloc::{Layout, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Numbers in pages of their own. (What an allocator hands out may have been touched before, and
/// pages that are there keep their size.)
#[derive(Debug)]
pub struct Pages<T> {
    map: MmapMut,
    count: usize,
    of: PhantomData<T>,
}

impl<T: Copy> Pages<T> {
    /// `count` times `value`. Without memory for them the program ends, as with a `Vec`.
    pub fn filled(count: usize, value: T) -> Self {
        let bytes = count.saturating_mul(size_of::<T>()).max(1);
        let Ok(map) = MmapMut::map_anon(bytes) else {
            handle_alloc_error(Layout::array::<T>(count).unwrap_or(Layout::new::<T>()));
        };
        #[cfg(target_os = "linux")]
        if bytes >= 2 << 20 {
            // That the system declines is no error.
            map.advise(memmap2::Advice::HugePage).ok();
        }
        let mut pages = Self { map, count, of: PhantomData };
        let start = pages.map.as_mut_ptr().cast::<T>();
        for index in 0..count {
            // SAFETY: the map begins with a page and has room for `count` values.
            unsafe { start.add(index).write(value) };
        }
        pages
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `filled` wrote so many values; a page is aligned for any of them.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}

impl<T> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled() {
        for count in [0, 1, 1000, 3_000_000] {
            let mut pages = Pages::filled(count, 1.5f32);
            assert_eq!(*pages, vec![1.5; count]);
            pages.fill(2.5);
            assert!(pages.iter().all(|number| *number == 2.5) && pages.len() == count);
        }
    }
}
