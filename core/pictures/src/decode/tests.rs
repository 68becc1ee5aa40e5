//! Files of every kind that the real set has, and of the kinds that it must never have.

use super::*;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;

/// Smooth, so that compression changes it little.
fn colour(x: u32, y: u32) -> [u8; 3] {
    [(x * 3 + 20) as u8, (y * 3 + 10) as u8, (x + y + 60) as u8]
}

fn pixels<const N: usize>(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; N]) -> Vec<u8> {
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

fn jpeg(pixels: &[u8], (width, height): (u32, u32), colours: ColorType, progressive: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 97);
    encoder.set_progressive(progressive);
    // The encoder samples ink the wrong way round: black coarsely, cyan finely. No camera or
    // program writes such files.
    let inks = matches!(colours, ColorType::Cmyk);
    encoder.set_sampling_factor(if inks { SamplingFactor::R_4_4_4 } else { SamplingFactor::R_4_2_0 });
    encoder.encode(pixels, width as u16, height as u16, colours).unwrap();
    bytes
}

fn png(pixels: &[u8], (width, height): (u32, u32), colours: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colours);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let (mut bytes, mut picture) = (bytes.to_vec(), Picture::default());
    Encoded::open(&mut bytes)?.decode(u32::MAX, &mut picture)?;
    Ok(picture)
}

/// The largest difference of a sample.
fn difference(picture: &Picture, pixel: impl Fn(u32, u32) -> [u8; 3]) -> u8 {
    let wanted = pixels(picture.width, picture.height, pixel);
    assert_eq!(picture.pixels.len(), wanted.len());
    picture.pixels.iter().zip(wanted).map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0)
}

#[test]
fn every_kind_of_jpeg() {
    let size = (61, 45);
    for progressive in [false, true] {
        let picture = decode(&jpeg(&pixels(61, 45, colour), size, ColorType::Rgb, progressive)).unwrap();
        assert_eq!((picture.width, picture.height), size);
        assert!(difference(&picture, colour) < 12);
    }
    let grey = |x: u32, y: u32| [(x * 2 + y) as u8];
    let picture = decode(&jpeg(&pixels(61, 45, grey), size, ColorType::Luma, false)).unwrap();
    assert!(difference(&picture, |x, y| [grey(x, y)[0]; 3]) < 8);
    // Inks as the encoder takes them: 255 is full; files hold them inverted, as Adobe's programs
    // do.
    let inks = |x: u32, y: u32| {
        let [red, green, blue] = colour(x, y);
        [255 - red, 255 - green, 255 - blue, 0]
    };
    for colours in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let picture = decode(&jpeg(&pixels(61, 45, inks), size, colours, false)).unwrap();
        assert!(difference(&picture, colour) < 12, "{colours:?}: {}", difference(&picture, colour));
    }
}

#[test]
fn every_kind_of_png() {
    use png::{BitDepth, ColorType};
    let size = (13, 9);
    let grey = |x: u32, y: u32| (x * 9 + y * 3) as u8;
    let rgb = pixels(13, 9, colour);
    let wide: Vec<u8> = rgb.iter().flat_map(|sample| [*sample, 77]).collect();
    let with_opacity = pixels(13, 9, |x, y| {
        let [red, green, blue] = colour(x, y);
        [red, green, blue, (x * 19) as u8]
    });
    for bytes in [
        png(&rgb, size, ColorType::Rgb, BitDepth::Eight),
        png(&wide, size, ColorType::Rgb, BitDepth::Sixteen),
        png(&with_opacity, size, ColorType::Rgba, BitDepth::Eight),
    ] {
        assert_eq!(decode(&bytes).unwrap().pixels, rgb);
    }
    let greys = pixels(13, 9, |x, y| [grey(x, y)]);
    let faint = pixels(13, 9, |x, y| [grey(x, y), 3]);
    for bytes in [
        png(&greys, size, ColorType::Grayscale, BitDepth::Eight),
        png(&faint, size, ColorType::GrayscaleAlpha, BitDepth::Eight),
    ] {
        assert_eq!(difference(&decode(&bytes).unwrap(), |x, y| [grey(x, y); 3]), 0);
    }
}

/// A file of one of the kinds that the crate `image` decodes.
fn other(format: image::ImageFormat, rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, rgb, width, height, image::ExtendedColorType::Rgb8, format).unwrap();
    bytes.into_inner()
}

#[test]
fn webp_bmp_and_gif() {
    use image::ImageFormat::{Bmp, Gif, WebP};
    let rgb = pixels(23, 17, colour);
    for format in [WebP, Bmp] {
        let picture = decode(&other(format, &rgb, (23, 17))).unwrap();
        assert_eq!((picture.width, picture.height), (23, 17));
        assert_eq!(picture.pixels, rgb, "{format:?} without loss");
    }
    // At most 256 colours.
    let few = pixels(23, 17, |x, y| [(x / 8 * 90) as u8, (y / 8 * 100) as u8, 40]);
    let picture = decode(&other(Gif, &few, (23, 17))).unwrap();
    assert_eq!(picture.pixels, few);
    for format in [WebP, Bmp, Gif] {
        let whole = other(format, &rgb, (23, 17));
        assert!(decode(&whole[..whole.len() / 2]).is_err(), "{format:?} that is cut");
    }
    let mut bomb = other(Bmp, &rgb, (23, 17));
    bomb[18..26].copy_from_slice(&[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    assert!(decode(&bomb).unwrap_err().starts_with("65535x65535 pixels in "));
}

#[test]
fn the_first_rows_are_the_same_without_the_rest() {
    let bytes = jpeg(&pixels(61, 130, colour), (61, 130), ColorType::Rgb, false);
    let whole = decode(&bytes).unwrap();
    for rows in [1, 15, 16, 17, 50, 96, 97, 129, 130] {
        let (mut bytes, mut picture) = (bytes.clone(), Picture::default());
        Encoded::open(&mut bytes).unwrap().decode(rows, &mut picture).unwrap();
        let part = rows as usize * 61 * 3;
        assert_eq!(picture.pixels[..part], whole.pixels[..part], "{rows} rows");
        assert!(picture.height >= rows && (rows > 97 || picture.height < 130));
    }
}

#[test]
fn damage_and_bombs_are_named() {
    let bytes = jpeg(&pixels(200, 150, colour), (200, 150), ColorType::Rgb, false);
    let problem = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert_eq!(problem(&bytes[..bytes.len() / 2]), "the JPEG file is cut: its end marker is missing");
    assert_eq!(problem(b"<html>404"), "neither a JPEG nor a PNG, WebP, BMP or GIF file");
    assert_eq!(problem(b""), "the file is empty");

    let at = jpeg::header(&bytes).unwrap();
    let mut bomb = bytes.clone();
    let frame = bomb.windows(4).position(|four| four == [0, 150, 0, 200]).unwrap();
    bomb[frame..frame + 4].copy_from_slice(&[0xff; 4]);
    assert_ne!(jpeg::header(&bomb).unwrap(), at);
    assert!(problem(&bomb).starts_with("65535x65535 pixels in "), "{}", problem(&bomb));

    let rows = vec![0; 500 * 4000];
    let mut small = png(&rows, (4000, 4000), png::ColorType::Grayscale, png::BitDepth::One);
    small.truncate(1000);
    assert!(problem(&small).contains("pixels in 1000 bytes are refused"), "{}", problem(&small));
    assert!(problem(&png(&pixels(9, 9, colour), (9, 9), png::ColorType::Rgb, png::BitDepth::Eight)[..60]).len() > 5);
}

#[test]
fn checking_sees_more_than_decoding() {
    let mut bytes = jpeg(&pixels(200, 150, colour), (200, 150), ColorType::Rgb, false);
    let place = bytes.len() / 2;
    bytes[place..place + 40].fill(0xff);
    bytes[place + 40] = 0xc4;
    let mut picture = Picture::default();
    assert!(Encoded::open(&mut bytes).unwrap().verify(&mut picture).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_never_panics(
        start in prop_oneof![
            Just(&b"\xff\xd8"[..]), Just(&b"\x89PNG\r\n\x1a\n"[..]), Just(&b"BM"[..]), Just(&b"GIF89a"[..]),
            Just(&b"RIFF\x40\0\0\0WEBPVP8"[..]),
        ],
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode(&[start, &rest].concat());
    }

    #[test]
    fn damaged_images_never_panic(
        kind in 0usize..7, places in prop::collection::vec((0usize..5000, any::<u8>()), 1..6), rows in 1u32..60,
    ) {
        let size = (40, 50);
        let rgb = pixels(40, 50, colour);
        let mut bytes = match kind {
            0 | 1 => jpeg(&rgb, size, ColorType::Rgb, kind == 1),
            2 => jpeg(&pixels(40, 50, |x, y| [x as u8, y as u8, 9, 0]), size, ColorType::CmykAsYcck, false),
            3 => png(&rgb, size, png::ColorType::Rgb, png::BitDepth::Eight),
            4 => other(image::ImageFormat::WebP, &rgb, size),
            5 => other(image::ImageFormat::Bmp, &rgb, size),
            _ => other(image::ImageFormat::Gif, &rgb, size),
        };
        for (place, value) in places {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let mut picture = Picture::default();
        let mut again = bytes.clone();
        if let Ok(image) = Encoded::open(&mut bytes) {
            let _ = image.decode(rows, &mut picture);
        }
        if let Ok(image) = Encoded::open(&mut again) {
            let _ = image.verify(&mut picture);
        }
    }
}
