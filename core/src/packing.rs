//! Codes of k bits side by side, without gaps: what makes a quantized model small on disk.
//!
//! The first code starts at the lowest bit of the first byte and each next one follows directly;
//! only the last byte of a tensor may have unused (zero) bits.

/// Bytes that `count` codes of `bits` bits take; `None` if that is beyond u64.
pub fn packed_len(count: u64, bits: u32) -> Option<u64> {
    Some(count.checked_mul(u64::from(bits))?.div_ceil(8))
}

/// Appends the codes to `out`. Each must be below 2^bits; bits are 1–32.
pub fn pack(codes: &[u32], bits: u32, out: &mut Vec<u8>) {
    let (mut held, mut filled) = (0u64, 0u32);
    for code in codes {
        // At most 31 bits wait here, so that a code of 32 bits still fits.
        held |= u64::from(*code) << filled;
        filled += bits;
        if filled >= 32 {
            out.extend_from_slice(&(held as u32).to_le_bytes());
            held >>= 32;
            filled -= 32;
        }
    }
    let rest = filled.div_ceil(8) as usize;
    out.extend_from_slice(&held.to_le_bytes()[..rest]);
}

/// Takes `count` codes out of exactly the bytes that [`pack`] made of them. `None` if the length
/// differs or unused bits are set: such bytes are not what `pack` writes.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Option<Vec<u32>> {
    if packed_len(count as u64, bits)? != bytes.len() as u64 {
        return None;
    }
    let mask = (1u64 << bits) - 1;
    let mut codes = Vec::with_capacity(count);
    let (mut held, mut filled) = (0u64, 0u32);
    let mut bytes = bytes.iter();
    for _ in 0..count {
        while filled < bits {
            held |= u64::from(*bytes.next()?) << filled;
            filled += 8;
        }
        codes.push((held & mask) as u32);
        held >>= bits;
        filled -= bits;
    }
    (held == 0).then_some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::largest_code;
    use proptest::prelude::*;

    #[test]
    fn four_bits_by_hand() {
        let mut bytes = vec![0xff];
        pack(&[1, 2, 3, 4, 5], 4, &mut bytes);
        assert_eq!(bytes, [0xff, 0x21, 0x43, 0x05]);
    }

    #[test]
    fn what_pack_does_not_write_is_refused() {
        assert_eq!(unpack(&[0x21, 0x03], 4, 3), Some(vec![1, 2, 3]));
        assert_eq!(unpack(&[0x21, 0x13], 4, 3), None);
        assert_eq!(unpack(&[0x21], 4, 3), None);
        assert_eq!(unpack(&[0x21, 0x03, 0x00], 4, 3), None);
        assert_eq!(unpack(&[], 31, usize::MAX), None);
    }

    proptest! {
        #[test]
        fn round_trip(bits in 1u32..=31, codes in prop::collection::vec(any::<u32>(), 0..300)) {
            let codes: Vec<u32> = codes.into_iter().map(|code| code & largest_code(bits)).collect();
            let mut bytes = Vec::new();
            pack(&codes, bits, &mut bytes);
            prop_assert_eq!(Some(bytes.len() as u64), packed_len(codes.len() as u64, bits));
            prop_assert_eq!(unpack(&bytes, bits, codes.len()), Some(codes));
        }
    }
}
