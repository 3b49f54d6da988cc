//! What a kernel seldom does.

use super::*;
use io_uring::{opcode, squeue};

/// Goal: where the kernel takes some entries of a submission, none is left behind.
/// Method: it takes nothing behind an entry that makes no sense.
#[test]
fn what_the_kernel_left_is_submitted_again() {
    let Ok(uring) = Uring::new(Dropper { pool: None }) else {
        return println!("skipped: no io_uring here");
    };
    let sound = opcode::Nop::new().build();
    let odd = sound.clone().flags(squeue::Flags::BUFFER_SELECT);
    // SAFETY: they touch no memory.
    let pushed = unsafe {
        let mut state = uring.state.borrow_mut();
        state.ring.submission().push_multiple(&[odd.clone(), odd, sound])
    };
    pushed.unwrap();
    uring.submit();
    let mut state = uring.state.borrow_mut();
    assert!(state.ring.submission().is_empty());
    let results: Vec<bool> = state.ring.completion().map(|done| done.result() < 0).collect();
    assert_eq!(results, [true, true, false]);
}
