//! Formats many items on all cores, and writes them in their order.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread;

use crate::base::error::Result;

/// Items of one part.
const PART: usize = 8192;
/// Maximum number of threads.
const MOST_THREADS: usize = 8;

/// Formats each item, and passes the text of one part after the other to `write`.
///
/// # Errors
/// The first error of `write`.
pub fn in_order<T: Sync>(
    items: &[T],
    format: impl Fn(&T, &mut Vec<u8>) + Sync,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let one = |part: &[T]| {
        let mut text = Vec::new();
        part.iter().for_each(|item| format(item, &mut text));
        text
    };
    if items.len() <= PART {
        return write(&one(items));
    }
    let cores = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let mut parts = items.chunks(PART);
    thread::scope(|scope| {
        let mut running = VecDeque::new();
        loop {
            // While one part is written, the next ones are made.
            let free = cores - running.len();
            running.extend(parts.by_ref().take(free).map(|part| scope.spawn(|| one(part))));
            let Some(part) = running.pop_front() else { return Ok(()) };
            write(&part.join().unwrap_or_else(|e| resume_unwind(e)))?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_items_stay_in_order() {
        let items: Vec<usize> = (0..5 * PART + 3).collect();
        let mut text = Vec::new();
        let done = in_order(
            &items,
            |item, out| out.extend(format!("{item}\n").bytes()),
            |part| {
                text.extend_from_slice(part);
                Ok(())
            },
        );
        assert!(done.is_ok());
        let read: Vec<usize> = String::from_utf8(text).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(read, items);
    }
}
