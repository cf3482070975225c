//! Randomness: the one place that draws it.

/// `N` random bytes from the operating system.
///
/// Panics when the operating system has none to give, which leaves nothing safe to do.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A random identifier: `N` bytes as hexadecimal digits.
#[must_use]
pub fn random_hex<const N: usize>() -> String {
    random_bytes::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random number below one, evenly spread.
#[must_use]
pub fn random_fraction() -> f64 {
    let bits = u64::from_le_bytes(random_bytes::<8>()) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
    let fraction = bits as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_have_their_length() {
        let (one, two) = (random_hex::<16>(), random_hex::<16>());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }

    #[test]
    fn fractions_stay_below_one() {
        assert!((0..1000).map(|_| random_fraction()).all(|f| (0.0..1.0).contains(&f)));
    }
}
