//! How figures are written for people: the same on the terminal and in the page.

use std::time::Duration;

/// `1,091,234`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Powers of 1024 bytes.
pub const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `512 B`, `150.7 KiB`, `1.04 MiB`: three or four digits.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 1;
    // 1023.95 would print as "1024.0 KiB".
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = if size < 10.0 { 2 } else { 1 };
    format!("{size:.decimals$} {}", UNITS[unit])
}

/// A fraction as `86.21 %`; what is not a number as `n/a`.
pub fn percent(fraction: f64) -> String {
    match fraction.is_finite() {
        true => format!("{:.2} %", fraction * 100.0),
        false => "n/a".into(),
    }
}

/// The difference of two fractions in percentage points, with its sign: `-0.59`; without one where
/// it rounds to nothing.
pub fn points(difference: f64) -> String {
    let text = format!("{:+.2}", difference * 100.0);
    match text.as_str() {
        "+0.00" | "-0.00" => "0.00".into(),
        _ if difference.is_finite() => text,
        _ => "n/a".into(),
    }
}

/// At most `decimals` digits after the point, none that say nothing: `4`, `4.25`.
pub fn trimmed(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return "n/a".into();
    }
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

/// A learning rate or another figure of any magnitude: `0.1`, `0.0125`, `1e-5`.
pub fn compact(number: f64) -> String {
    if !number.is_finite() {
        return "n/a".into();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-3..1e6).contains(&magnitude) {
        let text = format!("{number:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'));
    }
    trimmed(number, if magnitude < 1.0 { 4 } else { 3 })
}

/// `8 s`, `4 min 05 s`, `2 h 07 min`.
pub fn duration(time: Duration) -> String {
    let seconds = (time.as_secs_f64() + 0.5).floor() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `0:08`, `4:05`, `2:07:00`: where there is little room.
pub fn clock(time: Duration) -> String {
    let seconds = (time.as_secs_f64() + 0.5).floor() as u64;
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds % 3600 / 60, seconds % 60),
    }
}

/// As [`duration`], of seconds that come from a file: negative or no number is `n/a`.
pub fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or("n/a".into(), duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!([0, 999, 1000, 1_091_234].map(grouped), ["0", "999", "1,000", "1,091,234"]);
        assert_eq!(
            [0, 1023, 1024, 154_321, 1_048_575, 1_091_234, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.00 KiB", "150.7 KiB", "1.00 MiB", "1.04 MiB", "16384.0 PiB"]
        );
        assert_eq!([0.8621, 1.0, f64::NAN].map(percent), ["86.21 %", "100.00 %", "n/a"]);
        assert_eq!([-0.0059, 0.01, -0.00001].map(points), ["-0.59", "+1.00", "0.00"]);
        assert_eq!([4.0, 4.25, 100.0, -0.001].map(|number| trimmed(number, 2)), ["4", "4.25", "100", "0"]);
        assert_eq!(trimmed(100.0, 0), "100");
        assert_eq!([0.1, 0.0125, 1e-5, 3.5e-4, 0.0, 12.0].map(compact), ["0.1", "0.0125", "1e-5", "3.5e-4", "0", "12"]);
        assert_eq!([8, 245, 7625].map(|time| clock(Duration::from_secs(time))), ["0:08", "4:05", "2:07:05"]);
        assert_eq!(
            [0.4, 59.7, 245.0, 7620.0, -1.0].map(seconds),
            ["0 s", "1 min 00 s", "4 min 05 s", "2 h 07 min", "n/a"]
        );
    }
}
