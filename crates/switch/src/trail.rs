//! The record of decisions, kept while they are made.
//!
//! A call keeps short lines for its record, all in one text: they wait for as long as the call lasts. An explanation
//! also keeps the records that lost.

use keep::{Damaged, Keep, Reader, Writer};
use model::explain::{ExplainedLoser, ExplainedStep};
use std::borrow::Cow;

/// Most steps one call may leave: room for every candidate of a route, and for what became of each.
pub const MAX_STEPS: usize = 128;

/// What the lines of a call usually come to, in bytes; more cost a copy.
const USUAL_BYTES: usize = 1024;

/// Decisions in the order they were made.
#[derive(Debug, Clone)]
pub struct Trail(Kept);

#[derive(Debug, Clone)]
enum Kept {
    /// One line a step, and where each ends.
    Lines { text: String, ends: Vec<u32> },
    /// Steps and losers.
    Steps(Vec<ExplainedStep>),
}

// Whatever lost is of no use to a record.
impl Keep for Trail {
    fn keep(&self, out: &mut Writer) {
        let lines = self.each_line();
        out.number(lines.clone().count() as u64);
        lines.for_each(|line| out.text(&line));
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = input.number()?;
        if count > MAX_STEPS as u64 {
            return Err(Damaged::Value("trail"));
        }
        let mut trail = Self::brief();
        for _ in 0..count {
            let line = input.text()?;
            trail.push(|lines| lines.push_str(line));
        }
        Ok(trail)
    }
}

impl Trail {
    /// For a call: what was decided.
    pub fn brief() -> Self {
        Self(Kept::Lines {
            text: String::with_capacity(USUAL_BYTES),
            ends: Vec::with_capacity(16),
        })
    }

    /// For an explanation: what was decided, and against which others.
    pub fn full() -> Self {
        Self(Kept::Steps(Vec::with_capacity(8)))
    }

    /// Whether the records that lost are kept, and so are worth finding out.
    pub fn with_losers(&self) -> bool {
        matches!(self.0, Kept::Steps(_))
    }

    /// Notes a decision and the record behind it.
    pub fn step(&mut self, stage: &str, record: Option<String>, text: impl FnOnce() -> String) {
        self.step_with_losers(stage, record, text, Vec::new);
    }

    /// Notes a decision and, in an explanation, the records that lost with their reasons.
    pub fn step_with_losers(
        &mut self,
        stage: &str,
        record: Option<String>,
        text: impl FnOnce() -> String,
        losers: impl FnOnce() -> Vec<(String, String)>,
    ) {
        match &mut self.0 {
            Kept::Lines { .. } => {
                self.push(|lines| push_line(lines, stage, &text(), record.as_deref()));
            }
            Kept::Steps(steps) if steps.len() < MAX_STEPS => {
                let loser = |(record, why)| ExplainedLoser { record, why };
                steps.push(ExplainedStep {
                    stage: stage.to_owned(),
                    text: text(),
                    record,
                    others: losers().into_iter().map(loser).collect(),
                });
            }
            Kept::Steps(_) => {}
        }
    }

    /// A line for a call, as `print` appends it.
    fn push(&mut self, print: impl FnOnce(&mut String)) {
        if let Kept::Lines { text, ends } = &mut self.0
            && ends.len() < MAX_STEPS
        {
            print(text);
            // A step is a few hundred bytes: all of them stay far below.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
    }

    /// Gives back the room for steps that are not to be expected any more.
    pub(crate) fn shrink(&mut self) {
        if let Kept::Lines { text, ends } = &mut self.0 {
            text.shrink_to_fit();
            ends.shrink_to_fit();
        }
    }

    /// The steps, for an explanation; a call kept none.
    pub fn into_steps(self) -> Vec<ExplainedStep> {
        match self.0 {
            Kept::Lines { .. } => Vec::new(),
            Kept::Steps(steps) => steps,
        }
    }

    /// One line a step, for the call record.
    pub fn lines(&self) -> Vec<String> {
        self.each_line().map(Cow::into_owned).collect()
    }

    fn each_line(&self) -> impl Iterator<Item = Cow<'_, str>> + Clone {
        let (text, ends, steps): (&str, &[u32], &[ExplainedStep]) = match &self.0 {
            Kept::Lines { text, ends } => (text, ends, &[]),
            Kept::Steps(steps) => ("", &[], steps),
        };
        let bounds = std::iter::once(&0).chain(ends).zip(ends);
        let line = |(start, end): (&u32, &u32)| text.get(*start as usize..*end as usize);
        let lines = bounds.filter_map(line).map(Cow::Borrowed);
        lines.chain(steps.iter().map(|step| Cow::Owned(line_of(step))))
    }
}

fn line_of(step: &ExplainedStep) -> String {
    let mut line = String::new();
    push_line(&mut line, &step.stage, &step.text, step.record.as_deref());
    line
}

fn push_line(lines: &mut String, stage: &str, text: &str, record: Option<&str>) {
    for part in [stage, ": ", text] {
        lines.push_str(part);
    }
    for part in record
        .map(|record| [" [", record, "]"])
        .into_iter()
        .flatten()
    {
        lines.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_and_an_explanation_read_the_same() {
        let (mut brief, mut full) = (Trail::brief(), Trail::full());
        for trail in [&mut brief, &mut full] {
            trail.step("source", Some("connection d1/a".into()), || "From".into());
            trail.step("media", None, || "na\u{ef}ve\nrelay".into());
            trail.shrink();
        }
        let lines = ["source: From [connection d1/a]", "media: na\u{ef}ve\nrelay"];
        assert_eq!(brief.lines(), lines);
        assert_eq!(full.lines(), lines);
        assert_eq!(full.into_steps().len(), 2);
    }

    #[test]
    fn steps_beyond_the_bound_are_left_out() {
        for mut trail in [Trail::brief(), Trail::full()] {
            (0..=MAX_STEPS).for_each(|n| trail.step("limits", None, || n.to_string()));
            assert_eq!(trail.lines().len(), MAX_STEPS);
        }
    }
}
