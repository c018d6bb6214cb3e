//! The record of decisions, kept while they are made.
//!
//! A call keeps short lines for its record; an explanation also keeps the records that lost.

use keep::{Damaged, Keep, Reader, Writer};
use model::explain::{ExplainedLoser, ExplainedStep};

/// Most steps one call may leave: room for every candidate of a route, and for what became of each.
pub const MAX_STEPS: usize = 128;

/// Decisions in the order they were made.
#[derive(Debug, Clone)]
pub struct Trail {
    steps: Vec<ExplainedStep>,
    with_losers: bool,
}

// Whatever lost is of no use to a record.
impl Keep for Trail {
    fn keep(&self, out: &mut Writer) {
        let Self {
            steps,
            with_losers: _,
        } = self;
        out.number(steps.len() as u64);
        for step in steps {
            out.text(&step.stage);
            out.text(&step.text);
            step.record.keep(out);
        }
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = input.number()?;
        if count > MAX_STEPS as u64 {
            return Err(Damaged::Value("trail"));
        }
        let mut trail = Self::brief();
        for _ in 0..count {
            let (stage, text) = (input.text()?, input.text()?);
            trail.step(stage, Option::kept(input)?, || text.to_owned());
        }
        Ok(trail)
    }
}

impl Trail {
    /// For a call: what was decided.
    pub fn brief() -> Self {
        Self {
            steps: Vec::with_capacity(8),
            with_losers: false,
        }
    }

    /// For an explanation: what was decided, and against which others.
    pub fn full() -> Self {
        Self {
            steps: Vec::with_capacity(8),
            with_losers: true,
        }
    }

    /// Whether the records that lost are kept, and so are worth finding out.
    pub fn with_losers(&self) -> bool {
        self.with_losers
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
        if self.steps.len() >= MAX_STEPS {
            return;
        }
        let others = if self.with_losers {
            losers()
                .into_iter()
                .map(|(record, why)| ExplainedLoser { record, why })
                .collect()
        } else {
            Vec::new()
        };
        self.steps.push(ExplainedStep {
            stage: stage.to_owned(),
            text: text(),
            record,
            others,
        });
    }

    /// The steps, for an explanation.
    pub fn into_steps(self) -> Vec<ExplainedStep> {
        self.steps
    }

    /// One line a step, for the call record.
    pub fn lines(&self) -> Vec<String> {
        let line = |step: &ExplainedStep| match &step.record {
            Some(record) => format!("{}: {} [{record}]", step.stage, step.text),
            None => format!("{}: {}", step.stage, step.text),
        };
        self.steps.iter().map(line).collect()
    }
}
