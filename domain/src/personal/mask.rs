//! What may be shown of personal data: enough for its owner to recognise it, too little for others to use it.

const STAR: char = '*';

/// Stars of a hidden rest at most: how long a name is tells something too.
const NAME_STARS_MAX: usize = 3;

/// The first character: `李*`, `L***`. A name of one character is hidden.
pub(super) fn name(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.count()) {
        (Some(first), rest @ 1..) => std::iter::once(first).chain(stars(rest.min(NAME_STARS_MAX))).collect(),
        _ => STAR.to_string(),
    }
}

/// All but the four digits before the last four: `138****1234`, `+86138****1234`. Of a shorter number, such as a land line's,
/// the last four digits, or two where there are fewer than eight.
pub(super) fn phone(text: &str) -> String {
    let digits = text.trim_start_matches('+').chars().count();
    match digits {
        11.. => between(text, text.chars().count() - 8, 4),
        8..=10 => between(text, 0, 4),
        _ => between(text, 0, 2),
    }
}

/// Of an identity card's number the first three and the last four: `110***********002X`. Of a shorter one, such as a passport's,
/// the last two; of one with fewer than eight characters none.
pub(super) fn identity_number(text: &str) -> String {
    match text.chars().count() {
        15.. => between(text, 3, 4),
        8..=14 => between(text, 0, 2),
        _ => between(text, 0, 0),
    }
}

fn stars(count: usize) -> impl Iterator<Item = char> {
    std::iter::repeat_n(STAR, count)
}

/// So many characters at the start and at the end, and a star for each between.
fn between(text: &str, start: usize, end: usize) -> String {
    let count = text.chars().count();
    let end = count.saturating_sub(end);
    text.chars().enumerate().map(|(index, letter)| if (start..end).contains(&index) { STAR } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_what_is_documented() {
        for (mask, text, shown) in [
            (name as fn(&str) -> String, "李明", "李*"),
            (name, "欧阳修", "欧**"),
            (name, "Li Ming", "L***"),
            (name, "李", "*"),
            (phone, "13812341234", "138****1234"),
            (phone, "+8613812341234", "+86138****1234"),
            (phone, "62345678", "****5678"),
            (phone, "+6234567", "******67"),
            (identity_number, "11010519491231002X", "110***********002X"),
            (identity_number, "E12345678", "*******78"),
            (identity_number, "1234567", "*******"),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    proptest! {
        /// However short or long, some of it is hidden: of numbers at least three characters.
        #[test]
        fn always_hides_something(name_text in "\\PC{1,40}", digits in "\\+?[0-9]{5,20}", number in "[A-Z0-9()-]{4,32}") {
            prop_assert!(name(&name_text).contains(STAR));
            prop_assert!(name(&name_text).chars().count() <= 1 + NAME_STARS_MAX);
            for (masked, text) in [(phone(&digits), &digits), (identity_number(&number), &number)] {
                prop_assert!(masked.matches(STAR).count() >= 3, "{masked}");
                prop_assert_eq!(masked.chars().count(), text.chars().count());
            }
        }
    }
}
