//! An explanation as a person reads it: numbered steps, the record behind each, and who lost and why.

use std::fmt::Write;

use model::explain::Explanation;

use crate::terminal::Paint;

/// Column where the text of a step begins, after its number and stage.
const TEXT_COLUMN: usize = 22;
/// Losers shown per step; the rest are counted.
const LOSERS_SHOWN: usize = 8;

/// Draws the whole path for a terminal of `width` columns.
pub(crate) fn render(explanation: &Explanation, paint: Paint, width: usize) -> String {
    let mut text = String::new();
    for (index, step) in explanation.steps.iter().enumerate() {
        let head = format!("{:>3}  {:<16} ", index + 1, step.stage);
        let lines = wrap(&step.text, width.saturating_sub(TEXT_COLUMN));
        for (line_index, line) in lines.iter().enumerate() {
            match line_index {
                0 => _ = writeln!(text, "{}{line}", paint.bold(&head)),
                _ => _ = writeln!(text, "{:TEXT_COLUMN$}{line}", ""),
            }
        }
        if let Some(record) = &step.record {
            let _ = writeln!(
                text,
                "{:TEXT_COLUMN$}{} {}",
                "",
                paint.dim("by"),
                paint.magenta(record)
            );
        }
        let shown = &step.others[..step.others.len().min(LOSERS_SHOWN)];
        for (index, loser) in shown.iter().enumerate() {
            let _ = writeln!(
                text,
                "{:TEXT_COLUMN$}{} {}",
                "",
                paint.dim("not"),
                paint.dim(&loser.record)
            );
            // One reason for several records in a row is told once, beneath the last.
            if shown
                .get(index + 1)
                .is_none_or(|next| next.why != loser.why)
            {
                for line in wrap(&loser.why, width.saturating_sub(TEXT_COLUMN + 4)) {
                    let _ = writeln!(text, "{:TEXT_COLUMN$}    {}", "", paint.dim(&line));
                }
            }
        }
        if let Some(more) = step
            .others
            .len()
            .checked_sub(LOSERS_SHOWN)
            .filter(|more| *more > 0)
        {
            let _ = writeln!(
                text,
                "{:TEXT_COLUMN$}{}",
                "",
                paint.dim(&format!("and {more} more; --json shows all"))
            );
        }
    }
    if !explanation.steps.is_empty() {
        text.push('\n');
    }
    let (mark, colour): (String, fn(Paint, &str) -> String) = match explanation.refused_with {
        Some(status) => (format!("✗ {status} "), Paint::red),
        None => ("✓".into(), Paint::green),
    };
    let indent = mark.chars().count() + 1;
    for (index, line) in wrap(&explanation.outcome, width.saturating_sub(indent))
        .iter()
        .enumerate()
    {
        match index {
            0 => _ = writeln!(text, "{} {}", colour(paint, &mark), paint.bold(line)),
            _ => _ = writeln!(text, "{:indent$}{}", "", paint.bold(line)),
        }
    }
    if let Some(next_hop) = &explanation.next_hop {
        let _ = writeln!(text, "  {} {next_hop}", paint.dim("sent to"));
    }
    if !explanation.request.is_empty() {
        text.push('\n');
        for line in &explanation.request {
            let _ = writeln!(text, "    {}", paint.cyan(line));
        }
    }
    text
}

/// Breaks a sentence at blanks; a word longer than the line, such as a URI, stays whole.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= width {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use model::explain::{ExplainedLoser, ExplainedStep};

    use super::*;

    #[test]
    fn a_path_reads_from_top_to_bottom() {
        let explanation = Explanation {
            steps: vec![ExplainedStep {
                stage: "source".into(),
                text: "From sip:100@acme-pbx matches sip*@acme-pbx.".into(),
                record: Some("connection acme/sip*@acme-pbx".into()),
                others: ["connection */sip*@*", "connection acme/*"]
                    .map(|record| ExplainedLoser {
                        record: record.into(),
                        why: "its host has a wildcard".into(),
                    })
                    .into(),
            }],
            outcome: "The call goes to carrier.example.".into(),
            refused_with: None,
            next_hop: Some("carrier.example over UDP".into()),
            request: vec!["INVITE sip:1@carrier.example SIP/2.0".into()],
        };
        let expected = "  1  source           From sip:100@acme-pbx matches sip*@acme-pbx.\n\
            \x20                     by connection acme/sip*@acme-pbx\n\
            \x20                     not connection */sip*@*\n\
            \x20                     not connection acme/*\n\
            \x20                         its host has a wildcard\n\
            \n\
            ✓ The call goes to carrier.example.\n\
            \x20 sent to carrier.example over UDP\n\
            \n\
            \x20   INVITE sip:1@carrier.example SIP/2.0\n";
        assert_eq!(render(&explanation, Paint::plain(), 100), expected);
    }

    #[test]
    fn long_sentences_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("sip:a-very-long@uri.example x", 5),
            ["sip:a-very-long@uri.example", "x"]
        );
    }
}
