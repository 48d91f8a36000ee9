//! Resource versions: which of two is the newer.

use std::cmp::Ordering;

/// Compares two resource versions of one kind, as numbers of any length.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
///
/// `None` when one of them is not a number. Callers then take neither for the newer one and list again.
#[must_use]
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.trim_start_matches('0').len())
    };
    let (a_len, b_len) = (number(a)?, number(b)?);
    let digits = |text: &'_ str| text.trim_start_matches('0').to_owned();
    Some(a_len.cmp(&b_len).then_with(|| digits(a).cmp(&digits(b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_as_numbers_of_any_length() {
        assert_eq!(compare("9", "10"), Some(Ordering::Less));
        assert_eq!(compare("0010", "10"), Some(Ordering::Equal));
        assert_eq!(compare("18446744073709551617", "18446744073709551616"), Some(Ordering::Greater));
    }

    #[test]
    fn what_is_no_number_is_not_compared() {
        for bad in ["", "abc", "-1", "1.0", " 1"] {
            assert_eq!(compare(bad, "1"), None, "{bad:?}");
            assert_eq!(compare("1", bad), None, "{bad:?}");
        }
    }
}
