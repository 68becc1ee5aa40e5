//! What a JPEG file's header says, without decoding: size and kind; whether the file is whole; and
//! decoding no more of it than is wanted.

/// From the frame header and the first scan header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub progressive: bool,
    /// Rows of pixels in a row of coded units.
    unit_rows: u32,
    /// One scan holds all components, from top to bottom.
    one_scan: bool,
    /// Byte of the height (two bytes, big endian).
    height_at: usize,
    /// Byte after the first scan's header.
    data_at: usize,
}

/// Reads the markers up to the first scan (ITU-T T.81, annex B).
///
/// # Errors
/// What is missing or unsupported.
pub fn header(bytes: &[u8]) -> Result<Header, String> {
    let cut = || "the JPEG header is cut".to_owned();
    let mut at = 2;
    let mut frame = None;
    loop {
        // Some writers leave bytes between segments; what counts is the next marker.
        while *bytes.get(at).ok_or_else(cut)? != 0xff {
            at += 1;
        }
        while *bytes.get(at).ok_or_else(cut)? == 0xff {
            at += 1;
        }
        let marker = bytes[at];
        at += 1;
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker == 0xd9 {
            return Err("the JPEG file ends before its image".into());
        }
        let length =
            bytes.get(at..at + 2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]]))).ok_or_else(cut)?;
        let segment = bytes.get(at + 2..at + length.max(2)).ok_or_else(cut)?;
        match marker {
            0xc0..=0xc2 if frame.is_none() => frame = Some((marker, read_frame(segment).ok_or_else(cut)?, at + 3)),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Err(format!("a kind of JPEG that is not supported (frame marker {marker:02x})"));
            }
            0xda => {
                let (marker, (width, height, components, unit_rows), height_at) =
                    frame.ok_or("the JPEG file has no frame header")?;
                if width == 0 || height == 0 {
                    return Err(format!("a JPEG image of {width}x{height} pixels"));
                }
                return Ok(Header {
                    width,
                    height,
                    progressive: marker == 0xc2,
                    unit_rows,
                    one_scan: marker != 0xc2 && segment.first() == Some(&components),
                    height_at,
                    data_at: at + length.max(2),
                });
            }
            _ => {}
        }
        at += length.max(2);
    }
}

/// Width, height, number of components, rows of a coded unit.
fn read_frame(segment: &[u8]) -> Option<(u32, u32, u8, u32)> {
    let two = |at: usize| Some(u32::from(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?])));
    let (height, width, components) = (two(1)?, two(3)?, *segment.get(5)?);
    let sampling = segment.get(6..)?.chunks_exact(3).map(|component| u32::from(component[1] & 15));
    Some((width, height, components, 8 * sampling.max()?.max(1)))
}

/// True where the image data are followed by the end marker. A file that is cut has none; decoders
/// show grey from there.
pub fn is_whole(bytes: &[u8], header: &Header) -> bool {
    bytes.get(header.data_at..).is_some_and(|data| data.windows(2).rev().any(|two| two == [0xff, 0xd9]))
}

/// Makes decoders stop after the first `rows` rows, where the kind of file allows it, by changing
/// the height in its header; returns the new height. These rows are decoded as they were: a further
/// row of units stands below them, for the smoothing of colours across rows.
pub fn keep_rows(bytes: &mut [u8], header: &Header, rows: u32) -> u32 {
    let kept = rows.div_ceil(header.unit_rows).saturating_add(1).saturating_mul(header.unit_rows);
    if !header.one_scan || kept >= header.height {
        return header.height;
    }
    match bytes.get_mut(header.height_at..header.height_at + 2) {
        Some(height) => height.copy_from_slice(&(kept as u16).to_be_bytes()),
        None => return header.height,
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    use proptest::prelude::*;

    fn jpeg(width: u16, height: u16, sampling: SamplingFactor, progressive: bool) -> Vec<u8> {
        let pixels: Vec<u8> =
            (0..usize::from(width) * usize::from(height) * 3).map(|at| (at * 7 % 251) as u8).collect();
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 90);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(progressive);
        encoder.encode(&pixels, width, height, ColorType::Rgb).unwrap();
        bytes
    }

    #[test]
    fn size_and_kind() {
        let bytes = jpeg(50, 70, SamplingFactor::R_4_2_0, false);
        let found = header(&bytes).unwrap();
        assert_eq!(
            (found.width, found.height, found.progressive, found.unit_rows, found.one_scan),
            (50, 70, false, 16, true)
        );
        assert!(is_whole(&bytes, &found));
        assert!(!is_whole(&bytes[..bytes.len() - 1], &found));
        let found = header(&jpeg(50, 70, SamplingFactor::R_4_4_4, true)).unwrap();
        assert!(found.progressive && !found.one_scan && found.unit_rows == 8);
    }

    #[test]
    fn rows_are_kept_in_units_with_one_to_spare() {
        let bytes = jpeg(50, 100, SamplingFactor::R_4_2_0, false);
        let found = header(&bytes).unwrap();
        for (rows, kept) in [(1, 32), (16, 32), (17, 48), (70, 96), (80, 96), (81, 100), (1000, 100)] {
            let mut bytes = bytes.clone();
            assert_eq!(keep_rows(&mut bytes, &found, rows), kept);
            assert_eq!(header(&bytes).unwrap().height, kept);
        }
        let mut bytes = jpeg(50, 100, SamplingFactor::R_4_2_0, true);
        let found = header(&bytes).unwrap();
        assert_eq!(keep_rows(&mut bytes, &found, 10), 100);
    }

    #[test]
    fn what_is_missing_is_named() {
        let bytes = jpeg(50, 70, SamplingFactor::R_4_2_0, false);
        assert_eq!(header(&bytes[..100]).unwrap_err(), "the JPEG header is cut");
        assert_eq!(header(&[0xff, 0xd8, 0xff, 0xd9]).unwrap_err(), "the JPEG file ends before its image");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..200)) {
            let _ = header(&bytes);
        }

        #[test]
        fn a_damaged_header_never_panics(place in 0usize..700, value: u8) {
            let mut bytes = jpeg(20, 20, SamplingFactor::R_4_2_0, false);
            let place = place % bytes.len();
            bytes[place] = value;
            if let Ok(found) = header(&bytes) {
                is_whole(&bytes, &found);
                keep_rows(&mut bytes, &found, 3);
            }
        }
    }
}
