//! Which trace a call belongs to (W3C Trace Context, "traceparent"), and whether it is sampled.

/// The flag of a caller that samples.
const SAMPLED: u8 = 0x01;

/// A client's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) is_sampled: bool,
}

// === impl Parent ===

impl Parent {
    /// `00-<32 hex>-<16 hex>-<2 hex>`, lower case; versions to come may have more behind it.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace_id, span_id) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
        let flags = hex(parts.next()?, 2)?;
        let is_longer = parts.next().is_some();
        if version == 0xff || (version == 0 && is_longer) || trace_id == 0 || span_id == 0 {
            return None;
        }
        let is_sampled = flags & u128::from(SAMPLED) != 0;
        Some(Self { trace_id, span_id: u64::try_from(span_id).ok()?, is_sampled })
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_right = text.len() == digits && text.bytes().all(is_hex);
    is_right.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Whether a trace is among so many of all. By its id, so that services with the same share agree,
/// as OpenTelemetry's `traceidratio` does.
pub(super) fn is_sampled(trace_id: u128, ratio: f64) -> bool {
    let low = (trace_id as u64) >> 1;
    (low as f64) < ratio * (u64::MAX >> 1) as f64
}
