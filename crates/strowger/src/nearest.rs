//! "Did you mean …?": the known name nearest to a misspelt one.

/// The known name that takes the fewest slips of the finger to become `name`, unless it takes too many to be a slip.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong is still a slip; a name inside another one (`port` in `rtp_ports`) is a shortening.
    let tolerated = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| {
            let contained = name.len() >= 3 && candidate.contains(name);
            (
                if contained {
                    tolerated.min(1)
                } else {
                    distance(name, candidate)
                },
                candidate,
            )
        })
        .filter(|(slips, _)| *slips <= tolerated)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace, or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["drain_seconds", "rtp_ports", "sip", "http"];
        assert_eq!(nearest("drain_second", known), Some("drain_seconds"));
        assert_eq!(nearest("drian_seconds", known), Some("drain_seconds"));
        assert_eq!(nearest("ports", known), Some("rtp_ports"));
        assert_eq!(nearest("htpt", known), Some("http"));
        assert_eq!(nearest("colour_of_the_moon", known), None);
    }
}
