//! Deltas: a result described by copies from a base and inserted bytes (gitformat-pack, "Deltified
//! representation").
//!
//! Always true: pure; a result has exactly the size that the delta announces, or is an error.
//! Never here: where a base or a delta comes from.

/// Why a delta does not make an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeltaError {
    #[error("delta ends too early")]
    CutShort,
    #[error("delta was made for a base of another size")]
    OtherBase,
    #[error("delta copies from beyond its base")]
    BeyondBase,
    #[error("delta makes more or less than the size it announces")]
    OtherSize,
    #[error("delta holds the reserved instruction 0")]
    Reserved,
    #[error("delta announces an object larger than the limit")]
    TooLarge,
}

/// The sizes a delta opens with, and where its instructions begin. All sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) base: u64,
    pub(super) result: u64,
    instructions_at: usize,
}

/// Reads the two sizes from the first (at most 20) bytes of a delta.
pub(super) fn sizes(delta: &[u8]) -> Result<Sizes, DeltaError> {
    let (base, base_len) = size(delta)?;
    let (result, result_len) = size(&delta[base_len..])?;
    Ok(Sizes { base, result, instructions_at: base_len + result_len })
}

/// The object that `delta` makes of `base`, refused if larger than `bytes_max`.
pub(super) fn apply(base: &[u8], delta: &[u8], bytes_max: u64) -> Result<Vec<u8>, DeltaError> {
    let sizes = sizes(delta)?;
    if sizes.base != base.len() as u64 {
        return Err(DeltaError::OtherBase);
    }
    if sizes.result > bytes_max {
        return Err(DeltaError::TooLarge);
    }
    let size_bytes = usize::try_from(sizes.result).map_err(|_| DeltaError::TooLarge)?;
    let mut result = Vec::with_capacity(size_bytes);
    let mut rest = &delta[sizes.instructions_at..];
    while let Some((&instruction, after)) = rest.split_first() {
        rest = after;
        let piece = if instruction & 0x80 != 0 {
            copied(base, instruction, &mut rest)?
        } else if instruction != 0 {
            let (inserted, after) =
                rest.split_at_checked(usize::from(instruction)).ok_or(DeltaError::CutShort)?;
            rest = after;
            inserted
        } else {
            return Err(DeltaError::Reserved);
        };
        if piece.len() > size_bytes - result.len() {
            return Err(DeltaError::OtherSize);
        }
        result.extend_from_slice(piece);
    }
    if result.len() == size_bytes { Ok(result) } else { Err(DeltaError::OtherSize) }
}

/// The piece of `base` that a copy names: bits 0 to 3 of the instruction say which bytes of the
/// offset follow, bits 4 to 6 which of the size; a size of zero means 0x10000.
fn copied<'a>(base: &'a [u8], bits: u8, rest: &mut &[u8]) -> Result<&'a [u8], DeltaError> {
    let mut number = |first_bit: u32, bytes: u32| {
        let mut value = 0_usize;
        for byte in 0..bytes {
            if bits & (1 << (first_bit + byte)) != 0 {
                let (&next, after) = rest.split_first().ok_or(DeltaError::CutShort)?;
                *rest = after;
                value |= usize::from(next) << (8 * byte);
            }
        }
        Ok(value)
    };
    let offset = number(0, 4)?;
    let size_bytes = match number(4, 3)? {
        0 => 0x10000,
        size_bytes => size_bytes,
    };
    base.get(offset..offset + size_bytes).ok_or(DeltaError::BeyondBase)
}

/// A little-endian number, seven bits a byte, and how many bytes it took.
fn size(bytes: &[u8]) -> Result<(u64, usize), DeltaError> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    // Nine bytes hold 63 bits: more than any object that could exist.
    Err(if bytes.len() > 9 { DeltaError::TooLarge } else { DeltaError::CutShort })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(delta: &[u8], expected: Result<&[u8], DeltaError>) {
        assert_eq!(apply(b"0123456789", delta, 1 << 20).as_deref(), expected.as_ref().copied());
    }

    #[test]
    fn instructions() {
        check(&[10, 0], Ok(b""));
        check(&[10, 3, 3, b'a', b'b', b'c'], Ok(b"abc"));
        check(&[10, 4, 0x91, 2, 4], Ok(b"2345"));
        check(&[10, 10, 0x90, 10], Ok(b"0123456789"));
        check(&[10, 3, 0x91, 9, 1, 2, b'x', b'y'], Ok(b"9xy"));
    }

    #[test]
    fn a_copy_of_size_zero_is_64_kib() {
        let base = vec![7; 0x10000];
        let delta = [0x80, 0x80, 4, 0x80, 0x80, 4, 0x80];
        assert_eq!(apply(&base, &delta, 1 << 20).as_deref(), Ok(&base[..]));
    }

    #[test]
    fn refusals() {
        check(&[], Err(DeltaError::CutShort));
        check(&[10], Err(DeltaError::CutShort));
        check(&[10, 0x80], Err(DeltaError::CutShort));
        check(&[9, 0], Err(DeltaError::OtherBase));
        check(&[10, 3, 3, b'a'], Err(DeltaError::CutShort));
        check(&[10, 4, 0x91, 2], Err(DeltaError::CutShort));
        check(&[10, 4, 0x91, 7, 4], Err(DeltaError::BeyondBase));
        check(&[10, 4, 0xff, 255, 255, 255, 255, 255, 255, 255], Err(DeltaError::BeyondBase));
        check(&[10, 2, 3, b'a', b'b', b'c'], Err(DeltaError::OtherSize));
        check(&[10, 4, 3, b'a', b'b', b'c'], Err(DeltaError::OtherSize));
        check(&[10, 1, 0], Err(DeltaError::Reserved));
        check(&[10, 0x80, 0x80, 0x80, 1], Err(DeltaError::TooLarge));
        check(&[0xff; 24], Err(DeltaError::TooLarge));
    }
}
