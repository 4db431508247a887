//! Choosing by a hash: the same message goes the same way, as long as the bindings stay.

/// The 64-bit hash of bytes.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, and then mixed: its own high bits say little about short keys.
    let plain = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(plain)
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How much a candidate of this weight wants what has this hash. The one that wants it most gets it: each its share by
/// weight, and only what wanted a candidate that is gone goes elsewhere.
pub(super) fn score(hash: u64, candidate: u64, weight: u32) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    let drawn = mix(hash ^ mix(candidate)) >> 11;
    // Never 0 nor 1, so that the logarithm is a number below 0.
    let even = (drawn as f64 + 0.5) / STEPS;
    -f64::from(weight) / even.ln()
}
