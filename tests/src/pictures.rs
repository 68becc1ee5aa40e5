//! Photographs for tests: folders of made-up ones, as people have them.

use std::fs;
use std::path::Path;

/// A Windows bitmap of `width` × `height` pixels, of which `pixel` gives red, green and blue.
pub fn bmp(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let size = 54 + row * height;
    let mut bytes = b"BM".to_vec();
    for number in [size, 0, 54, 40, width, height, 1 | 24 << 16, 0, row * height, 2835, 2835, 0, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    // From the bottom to the top, blue first.
    for y in (0..height).rev() {
        for x in 0..width {
            let [red, green, blue] = pixel(x, y);
            bytes.extend_from_slice(&[blue, green, red]);
        }
        bytes.resize(bytes.len() + (row - width * 3) as usize, 0);
    }
    bytes
}

/// A number that `seed` decides.
fn noise(seed: u32) -> u32 {
    let mut z = seed.wrapping_mul(0x9e37_79b9) ^ 0x85eb_ca6b;
    z = (z ^ (z >> 16)).wrapping_mul(0x7feb_352d);
    z = (z ^ (z >> 15)).wrapping_mul(0x846c_a68b);
    z ^ (z >> 16)
}

/// Image `number` of a kind, with noise: 0 has stripes across, 1 stripes down, 2 squares, others
/// none; the colours are any.
pub fn picture(kind: u32, number: u32) -> Vec<u8> {
    let seed = noise(kind * 1000 + number);
    let (phase, colour) = (seed % 8, noise(seed));
    bmp(40 + seed % 9, 36, |x, y| {
        let (across, down) = ((y + phase) / 4 % 2, (x + phase) / 4 % 2);
        let light = match kind {
            0 => across,
            1 => down,
            2 => across ^ down,
            _ => 0,
        };
        let grain = noise(seed ^ (x << 16) ^ y) % 40;
        [0, 8, 16].map(|shift| (40 + light * 110 + (colour >> shift & 63) + grain) as u8)
    })
}

/// Writes `count` images of a kind to a folder.
pub fn class(folder: &Path, kind: u32, from: u32, count: u32) {
    fs::create_dir_all(folder).unwrap();
    for number in from..from + count {
        fs::write(folder.join(format!("{number:04}.bmp")), picture(kind, number)).unwrap();
    }
}
