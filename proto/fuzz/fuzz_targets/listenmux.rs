//! First bytes: the answer is final as soon as there is one, and right.

#![no_main]

use gitring_proto::listenmux::{BACKCHANNEL, MAGIC_BYTES, Opening, SIDECHANNEL, tell};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let told = tell(data);
    let head = &data[..data.len().min(MAGIC_BYTES)];
    match told {
        Opening::Backchannel => assert_eq!(head, BACKCHANNEL),
        Opening::Sidechannel => assert_eq!(head, SIDECHANNEL),
        Opening::Incomplete => assert!(data.len() < MAGIC_BYTES),
        Opening::Other => assert!(head != BACKCHANNEL && head != SIDECHANNEL),
    }
    for length in 0..head.len() {
        let before = tell(&data[..length]);
        assert!(before == told || before == Opening::Incomplete);
    }
});
